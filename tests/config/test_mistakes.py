"""Every mistake in a configuration is one line that says where, what, and what to do.

# reliability 118
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from src.config.errors import ConfigError
from src.config.loading import load_settings
from src.config.middlewares import load_middleware
from src.config.settings import MiddlewareSpec

UPSTREAM = "upstreams: [{type: openai}]\n"


@dataclass
class Row:
    """A config.yaml, variables and flags; the lines that must be told, no more and no less."""

    name: str
    yaml: str | bytes = UPSTREAM
    told: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    flags: dict[str, object] = field(default_factory=dict)


def c(line: int, text: str) -> tuple[str, ...]:
    return (f"config.yaml:{line} {text}",)


OPEN = "other machines reach, and nothing asks them for a key"
FIX = "put auth into middlewares, or give --allow-open"

NO_GLOB = "is empty or holds blanks at its ends; give a name, or a pattern with *"

ROWS = [
    # --- store ---
    Row(
        "a port that is none",
        UPSTREAM + "store: {database_url: 'postgresql://u:SECRET@h:99999/x'}\n",
        c(
            2,
            "store.database_url: is no address; the port is a number to 65535, and @ : / in a"
            " password are written %40 %3A %2F",
        ),
    ),
    # --- prices ---
    Row(
        "prices that are none",
        UPSTREAM + """prices:
  - {model: gpt-4o, input: -1, output: 2}
  - {model: "", input: 1}
  - {model: x}
  - {model: y, input: cheap, outptu: 3}
  - {model: z, input: true}
  - nonsense
""",
        (
            "config.yaml:3 prices.0.input: is -1; give at least 0",
            f"config.yaml:4 prices.1.model: {NO_GLOB}",
            "config.yaml:5 prices.2.input: is missing; it has no default",
            "config.yaml:6 prices.3.input: is 'cheap'; give a number",
            "config.yaml:6 prices.3.outptu: unknown key; did you mean output?",
            "config.yaml:7 prices.4.input: is true; give a number",
            "config.yaml:8 prices.5: is 'nonsense'; give a mapping, indented key: value lines",
        ),
    ),
    # --- who may come in, reliability 105 ---
    Row(
        "beyond this machine with no auth",
        UPSTREAM + "host: 0.0.0.0\n",
        c(2, f"host: is '0.0.0.0', which {OPEN}; {FIX}"),
    ),
    Row(
        "beyond this machine with no auth, by flag",
        UPSTREAM,
        (f"--host: is '10.0.0.7', which {OPEN}; {FIX}",),
        flags={"host": "10.0.0.7"},
    ),
    Row(
        "beyond this machine, by a name",
        UPSTREAM,
        (f"env LLMTAP_HOST: is 'box.example', which {OPEN}; {FIX}",),
        env={"LLMTAP_HOST": "box.example"},
    ),
    Row(
        "misspelt auth is one mistake",
        UPSTREAM + "host: 0.0.0.0\nmiddlewares: [auht]\n",
        c(3, "middlewares.0: unknown middleware 'auht'; did you mean auth?"),
    ),
    Row(
        "query API beyond this machine with no key",
        UPSTREAM + "web: {host: 0.0.0.0}\n",
        c(
            2,
            "web.host: is '0.0.0.0', which other machines reach, and there is no key to ask them"
            " for; give web.admin_key, as llmtap keys new makes one",
        ),
    ),
    Row(
        "query API on the proxy's port",
        UPSTREAM + "web:\n  port: 3000\n",
        c(3, "web.port: is 3000, which the proxy listens on; choose another"),
    ),
    Row(
        "a short admin key",
        UPSTREAM + "web:\n  admin_key: secret\n",
        c(
            3,
            "web.admin_key: is shorter than 16 characters; make one with: llmtap keys new",
        ),
    ),
    Row(
        "a hash that is none",
        UPSTREAM + "web:\n  admin_key_hash: sha256:abc\n",
        c(
            3,
            "web.admin_key_hash: is no hash; write sha256: and 64 hex digits, as llmtap keys new"
            " prints",
        ),
    ),
    # --- keys ---
    Row(
        "unknown key with a near one",
        UPSTREAM + "timeouts:\n  conect_s: 3\n",
        c(3, "timeouts.conect_s: unknown key; did you mean connect_s?"),
    ),
    Row(
        "unknown key far from all",
        UPSTREAM + "drain: {zzz: 1}\n",
        c(2, "drain.zzz: unknown key; known are flush_s, streams_s"),
    ),
    Row(
        "known key in the wrong place",
        UPSTREAM + "connect_s: 3\n",
        c(2, "connect_s: unknown key here; it belongs under timeouts"),
    ),
    Row(
        "a slip here, though another section has such a key",
        "upstream:\n  - {type: openai}\n" + UPSTREAM,
        c(1, "upstream: unknown key; did you mean upstreams?"),
    ),
    Row(
        "unknown key of an upstream",
        "upstreams:\n  - type: openai\n    prefx: /a\n",
        c(3, "upstreams.0.prefx: unknown key; did you mean prefix?"),
    ),
    Row(
        "misspelt key does not also count as missing",
        "upstreams:\n  - type: azure\n    bse_url: https://x.openai.azure.com\n",
        c(3, "upstreams.0.bse_url: unknown key; did you mean base_url?"),
    ),
    Row(
        "key written twice",
        UPSTREAM + "port: 1\nhost: localhost\nport: 2\n",
        c(4, "port: is written twice, first on line 2; keep one"),
    ),
    Row(
        "key that is no text",
        UPSTREAM + "1: 2\n",
        ("config.yaml:2: has a key that is no text; put it in quotes",),
    ),
    # --- types and bounds ---
    Row("text for a number", UPSTREAM + "port: abc\n", c(2, "port: is 'abc'; give a whole number")),
    Row(
        "fraction for a count",
        UPSTREAM + "workers: 1.5\n",
        c(2, "workers: is 1.5; give a whole number"),
    ),
    Row(
        "yes for a number",
        UPSTREAM + "workers: yes\n",
        c(2, "workers: is true; give a number"),
    ),
    Row(
        "list for a number", UPSTREAM + "port: [1]\n", c(2, "port: is a list; give a whole number")
    ),
    Row("nothing for a number", UPSTREAM + "port:\n", c(2, "port: is empty; give a whole number")),
    Row("number for a switch", UPSTREAM + "quiet: 3\n", c(2, "quiet: is 3; give true or false")),
    Row(
        "number for a text",
        "upstreams:\n  - type: openai\n    name: 3\n",
        c(3, "upstreams.0.name: is 3; give text, in quotes where YAML would read it otherwise"),
    ),
    Row(
        "number for a key",
        "upstreams:\n  - type: openai\n    api_key: 31415926\n",
        c(
            3,
            (
                "upstreams.0.api_key: is a number; give text, in quotes where YAML would"
                " read it otherwise"
            ),
        ),
    ),
    Row("port too large", UPSTREAM + "port: 65536\n", c(2, "port: is 65536; give at most 65535")),
    Row("port below zero", UPSTREAM + "port: -1\n", c(2, "port: is -1; give at least 0")),
    Row("no workers", UPSTREAM + "workers: 0\n", c(2, "workers: is 0; give at least 1")),
    Row(
        "negative limit",
        UPSTREAM + "limits:\n  in_flight: -5\n",
        c(3, "limits.in_flight: is -5; give at least 1"),
    ),
    Row(
        "limit of zero",
        UPSTREAM + "limits:\n  body_bytes: 0\n",
        c(3, "limits.body_bytes: is 0; give at least 1"),
    ),
    Row(
        "size in no unit that is known",
        UPSTREAM + "limits:\n  body_bytes: 64 Mo\n",
        c(
            3,
            (
                "limits.body_bytes: is no size;"
                " write bytes, or a number with kB, MB, GB, KiB, MiB or GiB"
            ),
        ),
    ),
    Row(
        "time-out of zero",
        UPSTREAM + "timeouts: {idle_s: 0}\n",
        c(2, "timeouts.idle_s: is 0; give more than 0"),
    ),
    Row(
        "time-out that never ends",
        UPSTREAM + "timeouts: {idle_s: .inf}\n",
        c(2, "timeouts.idle_s: is inf; give a finite number"),
    ),
    Row(
        "unknown log level",
        UPSTREAM + "log_level: loud\n",
        c(2, "log_level: is 'loud'; give debug, info, warning or error"),
    ),
    Row(
        "section that is no mapping",
        UPSTREAM + "timeouts: 5\n",
        c(2, "timeouts: is 5; give a mapping, indented key: value lines"),
    ),
    Row(
        "host with a port",
        UPSTREAM + "host: 'a b'\n",
        c(2, "host: is no host; give a name or an address such as 127.0.0.1"),
    ),
    Row(
        "reload with several workers",
        UPSTREAM + "workers: 2\nreload: true\n",
        c(3, "reload: serves with one process only; take out reload or workers"),
    ),
    # --- upstreams ---
    Row(
        "no upstream at all",
        "port: 3000\n",
        (
            (
                "upstreams: none given; pass --type openai or --base-url URL,"
                " or list upstreams in config.yaml"
            ),
        ),
    ),
    Row(
        "upstreams that are no list",
        "upstreams: openai\n",
        c(1, "upstreams: is 'openai'; give a list, each item on a line that begins with a dash"),
    ),
    Row(
        "upstream that is no mapping",
        "upstreams:\n  - openai\n  - type: opena\n    prefix: /a\n",
        (
            "config.yaml:2 upstreams.0: is 'openai'; give a mapping, indented key: value lines",
            "config.yaml:3 upstreams.1.type: unknown provider 'opena'; did you mean openai?",
        ),
    ),
    Row(
        "unknown provider",
        "upstreams:\n  - type: antropic\n",
        c(2, "upstreams.0.type: unknown provider 'antropic'; did you mean anthropic?"),
    ),
    Row(
        "type without a public address",
        "upstreams:\n  - type: azure\n",
        c(2, "upstreams.0.base_url: is missing; azure has no public address of its own: give one"),
    ),
    Row(
        "address without a scheme",
        "upstreams:\n  - base_url: api.openai.com/v1\n",
        c(2, "upstreams.0.base_url: has no scheme; begin it with http:// or https://"),
    ),
    Row(
        "address with another scheme",
        "upstreams:\n  - base_url: ftp://host\n",
        c(
            2,
            (
                "upstreams.0.base_url: has a scheme that is not served; begin it with http://"
                " or https://"
            ),
        ),
    ),
    Row(
        "address without a host",
        "upstreams:\n  - base_url: https:///v1\n",
        c(2, "upstreams.0.base_url: names no host; write it as https://host or https://host:port"),
    ),
    Row(
        "address with a bad port",
        "upstreams:\n  - base_url: https://host:99999\n",
        c(
            2,
            (
                "upstreams.0.base_url: is no valid address; write it as https://host or"
                " https://host:port"
            ),
        ),
    ),
    Row(
        "address with a space",
        "upstreams:\n  - base_url: 'https://ho st'\n",
        c(2, "upstreams.0.base_url: holds a space or a control character; write it without"),
    ),
    Row(
        "address with a password",
        "upstreams:\n  - base_url: https://me:hunter2@host\n",
        c(
            2,
            (
                "upstreams.0.base_url: holds a user or password; take it out and use api_key or"
                " headers"
            ),
        ),
    ),
    Row(
        "address with a query",
        "upstreams:\n  - base_url: https://host/?key=hunter2\n",
        c(
            2,
            ("upstreams.0.base_url: holds a key in its query; take it out and use api_key"),
        ),
    ),
    Row(
        "two upstreams without a prefix",
        "upstreams:\n  - type: openai\n  - type: gemini\n",
        c(
            3,
            (
                "upstreams.1.prefix: is missing, and only one upstream can do without;"
                " write prefix: /name"
            ),
        ),
    ),
    Row(
        "one prefix twice",
        "upstreams:\n  - {type: openai, prefix: /a}\n  - {type: gemini, prefix: /a/}\n",
        c(3, "upstreams.1.prefix: is '/a' twice; give each upstream a prefix of its own"),
    ),
    Row(
        "one name twice",
        "upstreams:\n  - type: openai\n  - {type: openai, prefix: /b}\n",
        c(3, "upstreams.1.name: is 'openai' twice; give each upstream a name of its own"),
    ),
    Row(
        "prefix without a slash",
        "upstreams:\n  - {type: openai, prefix: a}\n",
        c(2, "upstreams.0.prefix: does not begin with a slash; write it as /name"),
    ),
    Row(
        "prefix that climbs",
        "upstreams:\n  - {type: openai, prefix: /a/../b}\n",
        c(2, "upstreams.0.prefix: is no plain path; write it as /name"),
    ),
    Row(
        "prefix that the proxy answers itself",
        "upstreams:\n  - {type: openai, prefix: /health}\n",
        c(2, "upstreams.0.prefix: is a path of the proxy's own; choose another"),
    ),
    Row(
        "key with a line break",
        "upstreams:\n  - {type: openai, api_key: ${KEY}}\n".replace("${KEY}", '"${KEY}"'),
        c(
            2,
            (
                "upstreams.0.api_key: holds a line break or blank that no key has;"
                " check the variable it comes from"
            ),
        ),
        env={"KEY": "hunter2\n"},
    ),
    Row(
        "key of another script",
        "upstreams:\n  - {type: openai, api_key: ключ}\n",
        c(
            2,
            (
                "upstreams.0.api_key: holds characters that cannot be sent in a header;"
                " check the variable it comes from"
            ),
        ),
    ),
    Row(
        "header with a line break",
        'upstreams:\n  - {type: openai, headers: {X-A: "hunter2\\r\\nHost: evil"}}\n',
        c(
            2,
            (
                "upstreams.0.headers: X-A holds a line break or control character; write it on"
                " one line"
            ),
        ),
    ),
    Row(
        "header that the proxy sets",
        "upstreams:\n  - {type: openai, headers: {Content-Length: '3'}}\n",
        c(2, "upstreams.0.headers: holds content-length, which the proxy sets itself; take it out"),
    ),
    Row(
        "header with a number",
        "upstreams:\n  - type: openai\n    headers:\n      X-A: 3\n",
        c(
            4,
            (
                "upstreams.0.headers.X-A: is a number; give text, in quotes where YAML"
                " would read it"
                " otherwise"
            ),
        ),
    ),
    Row(
        "authorities that are not there",
        "upstreams:\n  - {type: openai, ca_file: /no/such.pem}\n",
        c(
            2,
            "upstreams.0.ca_file: is '/no/such.pem'; give the path of a file that exists",
        ),
    ),
    Row(
        "authorities that are none",
        "upstreams:\n  - {type: openai, ca_file: config.yaml}\n",
        c(2, "upstreams.0.ca_file: holds no certificate that can be read; give a PEM file"),
    ),
    Row(
        "proxy that the transport cannot use",
        "upstreams:\n  - {type: openai, transport: http1, proxy: 'http://u:hunter2@p:1'}\n",
        c(2, "upstreams.0: transport http1 cannot do proxy; write transport: httpx"),
    ),
    Row(
        "proxy with another scheme",
        "upstreams:\n  - {type: openai, proxy: 'gopher://u:hunter2@p:1'}\n",
        c(
            2,
            "upstreams.0.proxy: has a scheme that is not served; begin it with http:// or https://",
        ),
    ),
    # --- the chain ---
    Row(
        "unknown middleware",
        UPSTREAM + "middlewares:\n  - trac\n",
        c(3, "middlewares.0: unknown middleware 'trac'; did you mean trace?"),
    ),
    Row(
        "unknown option of a middleware",
        UPSTREAM + "middlewares:\n  - trace:\n      body_byts: 3\n",
        c(4, "middlewares.0.trace.body_byts: unknown key; did you mean body_bytes?"),
    ),
    Row(
        "bad option of a middleware",
        UPSTREAM + "middlewares:\n  - trace: {body_bytes: hunter2}\n",
        c(3, "middlewares.0.trace.body_bytes: is a text of 7 characters; give a whole number"),
    ),
    Row(
        "middleware with two names",
        UPSTREAM + "middlewares:\n  - {trace: , auth: }\n",
        c(3, "middlewares.0: needs one name; write - name: {option: value}"),
    ),
    Row(
        "middleware with an option that is no mapping",
        UPSTREAM + "middlewares:\n  - trace: 5\n",
        c(3, "middlewares.0: has options that are no mapping; write - trace: {option: value}"),
    ),
    Row(
        "middleware that is a number",
        UPSTREAM + "middlewares: [5]\n",
        c(2, "middlewares.0: is no middleware; write - name or - name: {option: value}"),
    ),
    Row(
        "middleware in no module",
        UPSTREAM + "middlewares: ['nowhere.at_all:Thing']\n",
        c(
            2,
            (
                "middlewares.0: there is no module nowhere; install it,"
                " or put its folder on PYTHONPATH"
            ),
        ),
    ),
    Row(
        "middleware that its module lacks",
        UPSTREAM + "middlewares: ['json:JSONDecodr']\n",
        c(2, "middlewares.0: json has no JSONDecodr; did you mean JSONDecoder?"),
    ),
    Row(
        "middleware that is no class",
        UPSTREAM + "middlewares: ['json:dumps']\n",
        c(2, "middlewares.0: json:dumps is no class; name the middleware's class"),
    ),
    Row(
        "options for a middleware that has none",
        UPSTREAM + "middlewares:\n  - use: json:JSONDecoder\n    strict: hunter2\n",
        c(3, "middlewares.0.json:JSONDecoder: takes no options; write the name alone"),
    ),
    # --- traces ---
    Row(
        "folder that cannot be made",
        UPSTREAM + "trace_dir: /dev/null/traces\n",
        c(
            2,
            "trace_dir: /dev/null/traces cannot be written; change its rights or give another",
        ),
    ),
    Row(
        "folder that is a file",
        UPSTREAM + "trace_dir: /dev/null\n",
        c(2, "trace_dir: /dev/null is no folder; give another"),
    ),
    # --- variables in the file ---
    Row(
        "variable that is not set",
        "upstreams:\n  - type: openai\n    api_key: ${KEY}\n",
        c(
            3,
            (
                "upstreams.0.api_key: the environment variable KEY is not set; set it,"
                " or write ${KEY:-default}"
            ),
        ),
    ),
    Row(
        "variable that is empty",
        "upstreams:\n  - type: openai\n    api_key: ${KEY}\n",
        c(
            3,
            (
                "upstreams.0.api_key: the environment variable KEY is empty; set it,"
                " or write ${KEY:-default}"
            ),
        ),
        env={"KEY": ""},
    ),
    Row(
        "variable that is not closed",
        "upstreams:\n  - type: openai\n    api_key: ${KEY\n",
        c(
            3,
            (
                "upstreams.0.api_key: has a ${ that is not closed; write ${NAME}, or $${"
                " for the text"
                " itself"
            ),
        ),
    ),
    Row(
        "variable without a name",
        "upstreams:\n  - type: openai\n    api_key: ${1 2}\n",
        c(
            3,
            (
                "upstreams.0.api_key: has ${…} around no variable's name;"
                " write ${NAME} or ${NAME:-default}"
            ),
        ),
    ),
    Row(
        "value out of a variable is not shown",
        UPSTREAM + "port: ${PORT}\n",
        c(2, "port: is a text of 7 characters; give a whole number"),
        env={"PORT": "hunter2"},
    ),
    Row(
        "value that looks like a key is not shown",
        UPSTREAM + "port: sk-hunter2\n",
        c(2, "port: is a text of 10 characters; give a whole number"),
    ),
    # --- YAML itself ---
    Row(
        "list that is not closed",
        UPSTREAM + "host: [1,\n",
        (
            (
                "config.yaml:3:1: is no valid YAML: did not find expected node content;"
                " check indentation, colons and quotes around it"
            ),
        ),
    ),
    Row(
        "tab",
        "timeouts:\n\tidle_s: 3\n",
        (
            (
                "config.yaml:2:1: is no valid YAML: found character that cannot start any token;"
                " the line is indented with a tab: use spaces"
            ),
        ),
    ),
    Row(
        "variable in a mapping on one line",
        "upstreams: [{api_key: ${KEY}}]\n",
        (
            (
                "config.yaml:1:24: is no valid YAML: did not find expected ',' or '}';"
                ' inside { } or [ ] write "${NAME}" in quotes'
            ),
        ),
    ),
    Row(
        "control character",
        b"port: 1\nhost: a\x07\n",
        (
            (
                "config.yaml:2:1: is no valid YAML: holds a control character;"
                " check indentation, colons and quotes around it"
            ),
        ),
    ),
    Row(
        "tag",
        UPSTREAM + "host: !!python/object:os.system x\n",
        c(2, "host: has a YAML form that is not understood; put it in quotes"),
    ),
    Row(
        "alias that holds itself",
        UPSTREAM + "limits: &a {x: *a}\n",
        ("config.yaml:2 limits.x: refers to itself by an alias; write it out",),
    ),
    Row(
        "empty file",
        "# only a comment\n",
        ("config.yaml:1: holds no settings; write key: value, or remove it",),
    ),
    Row("list for a file", "- port\n", ("config.yaml:1: is no mapping; write key: value lines",)),
    Row("word for a file", "port\n", ("config.yaml:1: is no mapping; write key: value lines",)),
    Row(
        "not UTF-8", b"a: 1\nport: \xff\n", ("config.yaml:2: is not UTF-8; save the file as UTF-8",)
    ),
    # --- variables over the file ---
    Row(
        "bad variable",
        told=("env LLMTAP_PORT: is 'abc'; give a whole number",),
        env={"LLMTAP_PORT": "abc"},
    ),
    Row(
        "unknown variable",
        told=("env LLMTAP_PROT: unknown variable; did you mean LLMTAP_PORT?",),
        env={"LLMTAP_PROT": "1"},
    ),
    Row(
        "unknown part of a variable",
        told=("env LLMTAP_TIMEOUTS__CONECT_S: unknown key; did you mean connect_s?",),
        env={"LLMTAP_TIMEOUTS__CONECT_S": "1"},
    ),
    Row(
        "variable with parts that has none",
        told=(
            (
                "env LLMTAP_UPSTREAMS__0__TYPE: has no parts; set LLMTAP_UPSTREAMS as a whole,"
                " lists as JSON"
            ),
        ),
        env={"LLMTAP_UPSTREAMS__0__TYPE": "openai"},
    ),
    Row(
        "variable with bad JSON",
        told=("env LLMTAP_UPSTREAMS: is no valid JSON; check it",),
        env={"LLMTAP_UPSTREAMS": "[{type: openai}]"},
    ),
    Row(
        "unknown key inside JSON",
        told=("env LLMTAP_UPSTREAMS upstreams.0.tpye: unknown key; did you mean type?",),
        env={"LLMTAP_UPSTREAMS": '[{"tpye": "openai"}]'},
    ),
    Row(
        "unknown provider in a variable",
        told=("env LLMTAP_TYPE: unknown provider 'opena'; did you mean openai?",),
        env={"LLMTAP_TYPE": "opena"},
    ),
    # --- flags over all ---
    Row("bad flag", told=("--port: is 'abc'; give a whole number",), flags={"port": "abc"}),
    Row("no workers by flag", told=("--workers: is '0'; give at least 1",), flags={"workers": "0"}),
    Row(
        "unknown level by flag",
        told=("--log-level: is 'loud'; give debug, info, warning or error",),
        flags={"log_level": "loud"},
    ),
    Row(
        "unknown provider by flag",
        told=("--type: unknown provider 'opena'; did you mean openai?",),
        flags={"type": "opena"},
    ),
    Row(
        "type by flag that needs an address",
        told=("--type: is missing; azure has no public address of its own: give one",),
        flags={"type": "azure"},
    ),
    Row(
        "bad address by flag",
        told=("--base-url: has no scheme; begin it with http:// or https://",),
        flags={"base_url": "api.openai.com"},
    ),
    Row(
        "folder by flag",
        told=("--trace-dir: /dev/null is no folder; give another",),
        flags={"trace_dir": "/dev/null"},
    ),
    Row(
        "key by flag without an upstream to take it",
        "upstreams: [{type: openai, prefix: /a}]\n",
        (
            (
                "--api-key: there is no upstream without a prefix to send it to; give --type or"
                " --base-url"
            ),
        ),
        flags={"api_key": "hunter2"},
    ),
    # --- all at once ---
    Row(
        "several mistakes in all places",
        (
            "timeouts:\n  conect_s: 3\n  idle_s: -1\nupstreams:\n  - type: opena\n"
            "    api_key: ${KEY}\nport: 1\nmiddlewares:\n  - 5\n  - trac\ntrace_dir: /dev/null\n"
        ),
        (
            "--log-level: is 'loud'; give debug, info, warning or error",
            "env LLMTAP_PORT: is 'abc'; give a whole number",
            "config.yaml:2 timeouts.conect_s: unknown key; did you mean connect_s?",
            "config.yaml:3 timeouts.idle_s: is -1; give more than 0",
            "config.yaml:5 upstreams.0.type: unknown provider 'opena'; did you mean openai?",
            (
                "config.yaml:6 upstreams.0.api_key: the environment variable KEY is not"
                " set; set it,"
                " or write ${KEY:-default}"
            ),
            (
                "config.yaml:9 middlewares.0: is no middleware; write - name or - name:"
                " {option: value}"
            ),
            "config.yaml:10 middlewares.1: unknown middleware 'trac'; did you mean trace?",
            "config.yaml:11 trace_dir: /dev/null is no folder; give another",
        ),
        env={"LLMTAP_PORT": "abc"},
        flags={"log_level": "loud"},
    ),
    Row(
        "bad flag beside a broken file",
        "host: [1,\n",
        (
            "--port: is 'abc'; give a whole number",
            (
                "config.yaml:2:1: is no valid YAML: did not find expected node content;"
                " check indentation, colons and quotes around it"
            ),
        ),
        flags={"port": "abc"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_mistake_is_told_with_its_place_and_its_mending(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = row.yaml if isinstance(row.yaml, bytes) else row.yaml.encode()
    Path("config.yaml").write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(row.flags, row.env)
    assert caught.value.lines == list(row.told)
    assert "hunter2" not in str(caught.value)


def test_parts_of_the_program_are_no_middlewares() -> None:
    for name in ("base", "chain"):
        with pytest.raises(
            ConfigError, match=f"middlewares: unknown middleware '{name}'; known are"
        ):
            load_middleware(MiddlewareSpec(name), None)


def test_a_config_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"type": "openai"}, {}, Path("no/such.yaml"))
    assert caught.value.lines == ["no/such.yaml: no such file; give the path of a readable file"]


def test_a_folder_for_a_config_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"type": "openai"}, {"LLMTAP_CONFIG": str(tmp_path)})
    assert caught.value.lines == [f"{tmp_path}: is a directory; give the path of a readable file"]


def test_every_line_says_what_to_do() -> None:
    for row in ROWS:
        assert all(";" in line for line in row.told), row.name
