"""What is measured: the upstream itself, nginx, and the program without and with tracing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench.process import LOAD_CORE, Process, free_port

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(__file__).with_name("bin")


class MissingToolError(Exception):
    """A program the benchmark needs is not installed; the text says how to get it."""


def build(name: str) -> str:
    """Compiles `name`.c into bench/bin where it is not there or is older; the path."""
    source, target = Path(__file__).with_name(f"{name}.c"), BIN / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise MissingToolError("no C compiler; on Debian: apt-get install gcc libc6-dev")
        BIN.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(target), str(source)], check=True)
    return str(target)


class System(Protocol):
    """Something that answers on a port and can be started again and again."""

    name: str
    port: int
    process: Process

    def start(self, folder: Path) -> None: ...

    def stop(self) -> None: ...


class Upstream:
    """The fake provider of upstream.c, on the core of the load: as a system it is `direct`."""

    name = "direct"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [build("upstream"), str(self.port)]
        self.process = Process(command, folder, core=LOAD_CORE)

    def serve(self) -> None:
        self.process.start()
        self.process.wait_for(self.port)

    def start(self, folder: Path) -> None:
        """It runs all the time: the others need it."""

    def stop(self) -> None:
        """See start."""


_NGINX_CONF = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class Nginx:
    """One worker that passes on everything it gets at once: the limit of the machine."""

    name = "nginx"

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.process: Process

    @staticmethod
    def binary() -> str | None:
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

    def start(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(
            _NGINX_CONF.format(folder=folder, port=self.port, upstream=self.upstream_port)
        )
        self.process = Process([str(self.binary()), "-c", str(conf), "-p", str(folder)], folder)
        self.process.start()
        self.process.wait_for(self.port)

    def stop(self) -> None:
        self.process.stop()


class Tap:
    """`python -m src.main` as a user starts it; without tracing by a config with an empty chain.
    `store`: the section of its config; None: there is none."""

    def __init__(
        self,
        upstream_port: int,
        *,
        traced: bool,
        flags: tuple[str, ...] = (),
        store: Mapping[str, str] | None = None,
    ) -> None:
        self.name = "llmtap, tracing" if traced else "llmtap, no tracing"
        self.upstream_port = upstream_port
        self.traced = traced
        self.store = store
        self.flags = flags
        self.port = 0
        self.traces = Path()
        self.process: Process

    def start(self, folder: Path) -> None:
        self.launch(folder)
        self.process.wait_for(self.port)

    def launch(self, folder: Path) -> None:
        """Starts it and does not wait until it listens."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.traces = free_port(), folder / "traces"
        self.process = Process(self._command(folder), folder, env=_environment())
        self.process.start()

    def _command(self, folder: Path) -> list[str]:
        base_url = f"http://127.0.0.1:{self.upstream_port}"
        command = [sys.executable, "-m", "src.main", "--port", str(self.port)]
        command += ["--trace-dir", str(self.traces), *self.flags]
        if self.traced and self.store is None:
            return [*command, "--base-url", base_url, "--type", "openai"]
        config = folder / "config.yaml"
        upstream = {"type": "openai", "base_url": base_url}
        more = {"middlewares": []} if self.store is None else {"store": self.store}
        config.write_text(json.dumps({"upstreams": [upstream], **more}))  # is YAML too
        return [*command, "--config", str(config)]

    def stop(self) -> None:
        self.process.stop()


def _environment() -> dict[str, str]:
    """As it is, without what would steer the program or lead its requests elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LLMTAP_") and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(ROOT)}
