"""The battery: requests and answers as bytes, wrong ones, odd ones, and ones that must pass.

Collected from the catalogue's tests here and, idea by idea, from what others try: http-garden,
llhttp's own tests, Go's reverseproxy and readrequest tests, nginx-tests, and the classes of request
smuggling (CL.TE, TE.CL, TE.TE, TE.0, 0.CL, CL.0). `@` stands for the try's own number. A canary is
a request hidden where none is: in a body, a chunk, an extension, a trailer, a header.
Crashes and the like that the mutations have found stand at the end, for ever.
"""

from __future__ import annotations

CANARY = b"GET /canary HTTP/1.1\r\nHost: c\r\n\r\n"
_HEX = b"%x\r\n%b\r\n" % (len(CANARY), CANARY)
END = b"0\r\n\r\n"


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /try/@ HTTP/1.1", b"Host: a", *lines]) + b"\r\n\r\n" + body


def _get(*lines: bytes, first: bytes = b"GET /try/@ HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n"


def _cl(size: bytes, body: bytes = b"{}") -> bytes:
    return _post(b"Content-Length: " + size, body=body)


def _te(value: bytes, body: bytes = b"2\r\n{}\r\n" + END) -> bytes:
    return _post(b"Transfer-Encoding: " + value, body=body)


def _chunks(body: bytes) -> bytes:
    return _te(b"chunked", body)


CHUNKED = b"Transfer-Encoding: chunked"

# What a client may well send: each must be answered by the upstream.
GOOD_REQUESTS: dict[str, bytes] = {
    "get": _get(),
    "get_1_0": _get(first=b"GET /try/@ HTTP/1.0"),
    "get_1_0_no_host": _get(first=b"GET /try/@ HTTP/1.0", host=b""),
    "head": _get(first=b"HEAD /try/@ HTTP/1.1"),
    "delete": _get(first=b"DELETE /try/@ HTTP/1.1"),
    "options_star": _get(b"X-Try: @", first=b"OPTIONS * HTTP/1.1"),
    "query": _get(first=b"GET /try/@?a=1;b=2&c=%zz HTTP/1.1"),
    "absolute_form": _get(first=b"GET http://evil.test/try/@ HTTP/1.1", host=b"Host: evil.test"),
    "post": _cl(b"2"),
    "post_empty": _cl(b"0", b""),
    "post_no_length": _post(),
    "post_leading_zeros": _cl(b"0002"),
    "post_canary_body": _cl(b"%d" % len(CANARY), CANARY),
    "post_then_get": _cl(b"2") + _get(b"X-N: 2"),
    "pipelined_5": _get() * 5,
    "pipelined_20": _get() * 20,
    "pipelined_posts": (_cl(b"%d" % len(CANARY), CANARY) + _chunks(_HEX + END)) * 3,
    "chunked": _chunks(b"2\r\n{}\r\n" + END),
    "chunked_canary": _chunks(_HEX + END),
    "chunked_extension": _chunks(b"2;name=value\r\n{}\r\n" + END),
    "chunked_quoted_extension": _chunks(b'2;name="a;b"\r\n{}\r\n' + END),
    "chunked_leading_zeros": _chunks(b"0002\r\n{}\r\n000\r\n\r\n"),
    "chunked_upper_case": _te(b"CHUNKED", b"A\r\n0123456789\r\n" + END),
    "chunked_trailer": _chunks(b"2\r\n{}\r\n0\r\nX-T: 1\r\n\r\n"),
    "chunked_trailer_auth": _chunks(b"2\r\n{}\r\n0\r\nAuthorization: Bearer t\r\n\r\n"),
    "chunked_one_byte_each": _chunks(b"".join(b"1\r\n%c\r\n" % c for c in b"abcdefgh") + END),
    "chunked_then_get": _chunks(b"2\r\n{}\r\n" + END) + _get(),
    "blank_line_before": b"\r\n" + _get(),
    "connection_close": _get(b"Connection: close"),
    "connection_close_then_more": _get(b"Connection: close") + CANARY,
    "connection_names_header": _get(b"Connection: X-Gone", b"X-Gone: 1"),
    "connection_names_length": _post(
        b"Connection: content-length", b"Content-Length: 2", body=b"{}"
    ),
    "tab_around_value": _get(b"X-A:\t1\t"),
    "no_space_after_colon": _get(b"X-A:1"),
    "empty_value": _get(b"X-A:"),
    "latin_1": _get(b"X-A: \xe9\xff"),
    "expect": _post(b"Expect: 100-continue", b"Content-Length: 2", body=b"{}"),
    "expect_odd": _post(b"Expect: 200-ok", b"Content-Length: 2", body=b"{}"),
    "hundred_headers": _get(*[b"X-%d: 1" % n for n in range(98)]),
    "long_header": _get(b"X-A: " + b"v" * 20000),
    "keep_alive_header": _get(b"Keep-Alive: timeout=1000", b"Connection: keep-alive"),
    "te_header": _get(b"TE: trailers", b"Connection: TE"),
    "max_forwards": _get(b"Max-Forwards: 0", first=b"OPTIONS /try/@ HTTP/1.1"),
    "odd_method": _get(first=b"PROPFIND /try/@ HTTP/1.1"),
    "dots": _get(first=b"GET /try/@/../x/./%2e%2e//y HTTP/1.1"),
}

_BAD_LENGTHS = (
    b"+2", b"-2", b"1_0", b"0x2", b"", b"2" * 23, b"2 2", b"2,2", b"2, 3", b"2;a", b"\xb2", b"two",
    b"2.0", b"18446744073709551618", b"2\x0b", b"\x002", b"2\x00", b"'2'", b"2e0", b"2\r\n 3",
    b"\xef\xbc\x92",
)  # fmt: skip
_BAD_CODINGS = (
    b",chunked", b"chunked,", b"gzip, chunked", b"chunked, chunked", b"\xa0chunked", b"xchunked",
    b"chunked;a", b"identity", b"chunked, identity", b"", b"gzip", b"\x0bchunked", b'"chunked"',
    b"chunked\x00", b"chunke", b"chunked chunked", b"chunked\r\n gzip", b"chun\tked", b"cow",
    b"identity, chunked", b"chunked\x0c", b"\x00chunked", b"chunKed\xe2\x84\xaa",
)  # fmt: skip
_BAD_CHUNKS: dict[str, bytes] = {
    "0x": b"0x2\r\n{}\r\n" + END,
    "underscore": b"0_2\r\n{}\r\n" + END,
    "bare_lf": b"2\n{}\n0\n\n",
    "bare_lf_after_size": b"2\n{}\r\n" + END,
    "bare_lf_after_data": b"2\r\n{}\n" + END,
    "bare_cr_after_size": b"2\r{}\r\n" + END,
    "bare_lf_at_the_end": b"2\r\n{}\r\n0\r\n\n",
    "bare_lf_last_size": b"2\r\n{}\r\n0\n\r\n",
    "no_crlf_after": b"2\r\n{}" + END,
    "too_much_data": b"2\r\n{}x\r\n" + END,
    "crlf_for_data": b"2\r\n\r\n\r\n" + END[:3],
    "16_digits": b"f" * 16 + b"\r\nx\r\n" + END,
    "17_digits": b"f" * 17 + b"\r\nx\r\n" + END,
    "19_digits": b"1" * 19 + b"\r\nx\r\n" + END,
    "wraps_to_2": b"10000000000000002\r\n{}\r\n" + END,
    "negative": b"-2\r\n{}\r\n" + END,
    "plus": b"+2\r\n{}\r\n" + END,
    "empty_size": b"\r\n{}\r\n" + END,
    "not_hex": b"g\r\n{}\r\n" + END,
    "space_before": b" 2\r\n{}\r\n" + END,
    "space_within": b"0 2\r\n{}\r\n" + END,
    "nul_after": b"2\x00\r\n{}\r\n" + END,
    "cr_in_extension": b"2;a\rb\r\n{}\r\n" + END,
    "lf_in_extension": b"2;a\nb\r\n{}\r\n" + END,
    "lf_extension_canary": b"2;\n{}\r\n" + b"%x\r\n" % len(CANARY) + CANARY + END,
    "nul_in_extension": b"2;a\x00b\r\n{}\r\n" + END,
    "extension_without_semicolon": b"2 a=b\r\n{}\r\n" + END,
    "endless_extension": b"2;" + b"e" * 70000 + b"\r\n{}\r\n" + END,
    "endless_trailers": b"2\r\n{}\r\n0\r\n" + b"X-T: 1\r\n" * 10000 + b"\r\n",
    "trailer_space_before_colon": b"0\r\nX-T : 1\r\n\r\n",
    "trailer_fold": b"0\r\nX-T: 1\r\n 2\r\n\r\n",
    "trailer_no_colon": b"0\r\nGET /canary HTTP/1.1\r\n\r\n",
    "trailer_bare_lf": b"0\r\nX-T: 1\nX-U: 2\r\n\r\n",
    "zero_with_data": b"0\r\n" + CANARY,
    "double_zero": b"0\r\n0\r\n\r\n" + CANARY,
    "utf8_digits": "\u0662\r\n{}\r\n".encode() + END,
    "just_lf_body": b"\n\n\n",
}
_BAD_LINES: dict[str, bytes] = {
    "space_before_colon": b"X-A : 1",
    "tab_before_colon": b"X-A\t: 1",
    "no_colon": b"X-A",
    "empty_name": b": 1",
    "nul_in_value": b"X-A: a\x00b",
    "nul_in_name": b"X\x00A: 1",
    "bare_cr": b"X-A: a\rX-B: b",
    "bare_cr_canary": b"X-A: a\r\r" + CANARY.replace(b"\r\n", b"\r"),
    "bare_cr_at_the_end": b"X-A: a\r",
    "bare_lf": b"X-A: a\nX-B: b",
    "bare_lf_lf": b"X-A: a\n\n" + CANARY,
    "obs_fold": b"X-A: a\r\n b",
    "obs_fold_tab": b"X-A: a\r\n\tb",
    "obs_fold_framing": b"Transfer-Encoding:\r\n chunked",
    "fold_blank": b"X-A: a\r\n \r\n b",
    "space_in_name": b"X A: 1",
    "quotes_in_name": b'"X": 1',
    "control_in_value": b"X-A: \x01",
    "del_in_value": b"X-A: \x7f",
    "utf8_name": "X-\u00c4: 1".encode(),
    "leading_space": b" X-A: 1",
    "slash_in_name": b"X/A: 1",
    "brackets_in_name": b"(X): 1",
    "second_host": b"Host: b",
    "same_host": b"Host: a",
    "host_folded": b"X-B: 1\r\n Host: b",
    "length_space_colon": b"Content-Length : 2",
    "coding_space_colon": b"Transfer-Encoding : chunked",
    "coding_nul_colon": b"Transfer-Encoding\x00: chunked",
    "coding_underscore": b"Transfer_Encoding: chunked\r\nContent-Length : 5",
    "dash_underscore_key": b"X_Api_Key: forged",
}
_FIRST_LINES = (
    b"GET /", b"GET /try/@", b"GET /try/@ HTTP/0.9", b"GET /try/@ HTTP/2.0", b"GET /try/@ HTTP/1.2",
    b"GET /try/@ HTTP/1.10", b"GET /try/@ HTTP/11", b"GET /try/@ HTTP/1", b"GET /try/@ HTTP/1.1 ",
    b"GET /try/@ http/1.1", b"GET /try/@ HTTP /1.1", b"GET /try/@ RTSP/1.0", b"GET /try/@ ICE/1.0",
    b"GET /a b HTTP/1.1", b"GET HTTP/1.1", b" GET /try/@ HTTP/1.1", b"GET\t/try/@\tHTTP/1.1",
    b"GET /try/@\x01 HTTP/1.1", b"GET /try/@\x00 HTTP/1.1", b"GET /try/@\rX HTTP/1.1",
    b"GET /try/@\x0c HTTP/1.1", b"G\x00T /try/@ HTTP/1.1", b"G(T /try/@ HTTP/1.1",
    b"/try/@ HTTP/1.1",
    b"GET /try/@ HTTP/1.1\rX: y", b"GET /try/@ HTTP/-1.1", b"GET /try/@ HTTP/1.1.1",
    b"GET /try/@ H",
    b"CONNECT evil.test:443 HTTP/1.1", b"PRI * HTTP/2.0", b"GET  /try/@  HTTP/1.1", b"\x00\x00",
    b"GET http:///try/@ HTTP/1.1", b"GET evil.test:80 HTTP/1.1", b"GET @evil.test HTTP/1.1",
    b"get /try/@ HTTP/1.1", b"GET /try/@#frag HTTP/1.1", b"SOURCE /try/@ ICE/1.0",
    b"HTTP/1.1 200 OK",
    "GET /try/@\u00e9 HTTP/1.1".encode(), b"GET \\try\\@ HTTP/1.1", b"GET /try/@ HTTP/1.1\x0b",
)  # fmt: skip

_BOTH = b"Content-Length: 5"
BAD_REQUESTS: dict[str, bytes] = {
    # smuggling by two framings
    "cl_te": _post(_BOTH, CHUNKED, body=END + CANARY),
    "te_cl": _post(CHUNKED, _BOTH, body=END + CANARY),
    "te_cl_4": _post(b"Content-Length: 4", CHUNKED, body=b"5c\r\n" + CANARY + b"\r\n" + END),
    "cl_0_te": _post(b"Content-Length: 0", b"transfer-encoding: Chunked", body=END + CANARY),
    "te_te": _post(CHUNKED, b"Transfer-Encoding: cow", body=END + CANARY),
    "te_te_same": _post(CHUNKED, CHUNKED, body=END + CANARY),
    "te_te_list": _post(CHUNKED, b"Transfer-Encoding: identity", _BOTH, body=END + CANARY),
    "te_0": _chunks(b"0\r\n" + CANARY),
    "te_0_options": _chunks(END + CANARY).replace(b"POST", b"OPTIONS") + CANARY,
    "zero_cl": _get(b"Content-Length : 47") + CANARY,
    "cl_0": _post(b"Content-Length: 0", body=b"") + CANARY[:-2] + b"X: " + _get(),
    "get_with_body_canary": _get(b"Content-Length: %d" % len(CANARY)) + CANARY,
    "cl_cl": _post(b"Content-Length: 0", b"Content-Length: %d" % len(CANARY), body=CANARY),
    "cl_cl_same": _post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
    "cl_cl_empty": _post(b"Content-Length:", b"Content-Length: 2", body=b"{}"),
    "cl_te_1_0": _post(_BOTH, CHUNKED, body=END + CANARY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "te_1_0": _chunks(END + CANARY).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "te_1_0_keep_alive": _post(b"Connection: keep-alive", CHUNKED, body=END + CANARY).replace(
        b"HTTP/1.1", b"HTTP/1.0", 1
    ),
    "te_named_by_connection": _post(b"Connection: transfer-encoding", CHUNKED, body=_HEX + END),
    "te_bare_lf": _post(b"X: y\nTransfer-Encoding: chunked", _BOTH, body=END + CANARY),
    "te_bare_cr": _post(b"X: y\rTransfer-Encoding: chunked", _BOTH, body=END + CANARY),
    "te_fold": _post(b"Transfer-Encoding: chunked\r\n , identity", body=END + CANARY),
    "te_quoted": _post(b'Transfer-Encoding: "chunked"', _BOTH, body=END + CANARY),
    "te_vertical_tab": _post(b"Transfer-Encoding:\x0bchunked", _BOTH, body=END + CANARY),
    "te_before_host": b"POST /try/@ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + END + CANARY,
    # upgrades, tunnels and expectations
    "h2c": _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
    b"HTTP2-Settings: AAMAAABk"),
    "h2c_canary": _get(b"Connection: Upgrade", b"Upgrade: h2c")
    + b"PRI * HTTP/2.0\r\n\r\n" + CANARY,
    "upgrade_post": _post(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 2", body=b"{}")
    + CANARY,
    "websocket": _get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    + CANARY,
    "upgrade_tls": _get(b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
    "connect_canary": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + CANARY,
    "expect_no_body": _post(b"Expect: 100-continue", b"Content-Length: 5"),
    "expect_canary": _post(b"Expect: 100-continue", b"Content-Length: 0") + CANARY[:-4],
    "h2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
    "tls_hello": bytes.fromhex("16030100c4010000c00303") + bytes(185),
    "socks": b"\x05\x01\x00",
    "proxy_protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _get(),
    # heads without an end, or too large
    "nothing": b"",
    "blank_lines": b"\r\n" * 50,
    "lf_lines": b"\n" * 50,
    "half_first_line": b"GET /try/@ HT",
    "half_head": b"GET /try/@ HTTP/1.1\r\nHost: a\r\nX-",
    "head_without_blank_line": b"GET /try/@ HTTP/1.1\r\nHost: a\r\n",
    "lf_head": b"GET /try/@ HTTP/1.1\nHost: a\n\n",
    "cr_head": b"GET /try/@ HTTP/1.1\rHost: a\r\r",
    "lf_blank_line": b"GET /try/@ HTTP/1.1\r\nHost: a\r\n\n" + CANARY,
    "crlf_mixed": b"GET /try/@ HTTP/1.1\nHost: a\r\n\r\n",
    "no_host": _get(host=b""),
    "host_space": _get(host=b"Host : a"),
    "host_after_fold": b"GET /try/@ HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    "long_target": b"GET /try/@" + b"u" * 17000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long_method": b"G" * 70000 + b" /try/@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "header_block": _get(b"X-Big: " + b"x" * 70000),
    "header_count": _get(*[b"X-%d: 1" % n for n in range(120)]),
    "long_name": _get(b"X" * 70000 + b": 1"),
    "noise": bytes(range(256)) * 4,
    "nuls": b"\x00" * 500,
    "answer_as_request": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    # bodies that do not come
    "short_body": _cl(b"5", b"{}"),
    "short_body_canary": _cl(b"%d" % (len(CANARY) + 20), CANARY),
    "no_body": _cl(b"5", b""),
    "huge_length": _cl(b"99999999999999", CANARY),
    "long_body": _cl(b"2", b"{}" + b"garbage that is no request\r\n\r\n"),
    "body_then_half": _cl(b"2", b"{}" + CANARY[:-1]),
    "chunked_canary_ext": _chunks(b"2;x=GET /canary HTTP/1.1\r\n{}\r\n" + END),
    "chunked_trailer_framing": _chunks(b"2\r\n{}\r\n0\r\nContent-Length: 99\r\n\r\n"),
    "chunks_unended": _chunks(b"2\r\n{}\r\n"),
    "chunks_half_end": _chunks(b"2\r\n{}\r\n0\r\n"),
    "chunk_short": _chunks(b"ff\r\n" + CANARY),
    "pipelined_bad_second": _get() + b"GET /try/@ HTTP/1.1\r\nHost : a\r\n\r\n" + CANARY,
    "pipelined_bad_body": _cl(b"2") + _chunks(b"zz\r\n") + CANARY,
    "pipelined_unended": _get() + _get()[:-1],
    **{f"length_{v!r}": _cl(v, b"{}" + CANARY) for v in _BAD_LENGTHS},
    **{f"coding_{v!r}": _te(v, END + CANARY) for v in _BAD_CODINGS},
    **{f"coding_with_length_{v!r}": _post(b"Transfer-Encoding: " + v, _BOTH, body=END + CANARY)
       for v in _BAD_CODINGS},
    **{f"chunk_{name}": _chunks(body + CANARY) for name, body in _BAD_CHUNKS.items()},
    **{f"line_{name}": _post(line, b"Content-Length: 2", body=b"{}" + CANARY)
       for name, line in _BAD_LINES.items()},
    **{f"first_{line!r}": _get(first=line) + CANARY for line in _FIRST_LINES},
}  # fmt: skip

OK = b"HTTP/1.1 200 OK\r\n"
_POISON = OK + b"X-Poison: 1\r\nContent-Length: 6\r\n\r\npoison"


def _sized(body: bytes = b"{}", *lines: bytes, first: bytes = OK) -> bytes:
    head = b"".join(line + b"\r\n" for line in lines)
    return first + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _coded(body: bytes, *lines: bytes) -> bytes:
    return OK + b"".join(x + b"\r\n" for x in lines) + b"Transfer-Encoding: chunked\r\n\r\n" + body


GOOD_RESPONSES: dict[str, bytes] = {
    "length": _sized(),
    "empty": _sized(b""),
    "no_reason": _sized(first=b"HTTP/1.1 200\r\n"),
    "empty_reason": _sized(first=b"HTTP/1.1 200 \r\n"),
    "latin_1_reason": _sized(first=b"HTTP/1.1 200 \xe9t\xe9\r\n"),
    "poison_as_body": _sized(_POISON),
    "chunked": _coded(b"2\r\n{}\r\n" + END),
    "chunked_poison": _coded(b"%x\r\n%b\r\n" % (len(_POISON), _POISON) + END),
    "chunked_extension": _coded(b"2;a=b\r\n{}\r\n" + END),
    "chunked_trailer": _coded(b"2\r\n{}\r\n0\r\nX-T: 1\r\n\r\n"),
    "chunked_trailer_framing": _coded(b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304_length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    "100_before": b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(),
    "103_before": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + _sized(),
    "102_before": b"HTTP/1.1 102 Processing\r\n\r\n" + _coded(b"2\r\n{}\r\n" + END),
    "close": _sized(b"{}", b"Connection: close"),
    "connection_names": _sized(b"{}", b"Connection: X-Gone", b"X-Gone: 1"),
    "two_cookies": _sized(b"{}", b"Set-Cookie: a=1", b"Set-Cookie: b=2"),
    "429": _sized(b"{}", b"Retry-After: 5", first=b"HTTP/1.1 429 Slow\r\n"),
    "503": _sized(b"{}", first=b"HTTP/1.1 503 Away\r\n"),
    "529": _sized(b"{}", first=b"HTTP/1.1 529 Busy\r\n"),
    "302": _sized(b"", b"Location: http://evil.test/", first=b"HTTP/1.1 302 Found\r\n"),
    "upgrade_header": _sized(b"{}", b"Upgrade: h2c"),
    "big_header": _sized(b"{}", b"X-A: " + b"v" * 9000),
    "sse": _coded(b'10\r\ndata: {"a": 1}\n\n\r\n10\r\ndata: [DONE]\n\n\n\n\r\n' + END),
}  # fmt: skip
# Good only where the connection's end follows: the body has no other one.
CLOSE_DELIMITED: dict[str, bytes] = {
    "close_delimited": OK + b"\r\n{}",
    "close_delimited_1_0": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "close_delimited_poison": OK + b"\r\n" + _POISON,
    "length_1_0": _sized(first=b"HTTP/1.0 200 OK\r\n"),
}

_BAD_STATUS_LINES = (
    b"HTTP/1.1 99 Odd", b"HTTP/1.1 0 Odd", b"HTTP/1.1 000 Odd", b"HTTP/1.1 -1 Odd",
    b"HTTP/1.1 20 Odd",
    b"HTTP/1.1 2000 Odd", b"HTTP/1.1 abc Odd", b"HTTP/1.1  Odd", b"HTTP/1.1", b"HTTP/2 200 OK",
    b"HTTP/3.1 200 OK", b"HTTP/0.9 200 OK", b"http/1.1 200 OK", b"HTTP/1.1200 OK",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"SSH-2.0-OpenSSH_9.6", b"hello", b"ICY 200 OK",
    b"RTSP/1.0 200 OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1\t200\tOK", b" HTTP/1.1 200 OK", b"200 OK",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 999 Odd", b"HTTP/1.1 600 Odd", b"{}", b"\x00",
    b"HTTP/1.1 2 0 OK", b"HTTP/1. 1 200 OK", b"HTTP/01.1 200 OK", b"HTTP/1.1 0200 OK",
)  # fmt: skip
_SECOND = b"Content-Length: 2\r\n\r\n{}"
BAD_RESPONSES: dict[str, bytes] = {
    "nothing": b"",
    "half_status": b"HTTP/1.1 2",
    "half_head": OK + b"Content-Le",
    "head_without_end": OK + b"Content-Length: 2\r\n",
    "short": OK + b"Content-Length: 50\r\n\r\npart",
    "surplus": _sized() + b"x",
    "surplus_answer": _sized() + _POISON,
    "surplus_crlf": _sized() + b"\r\n",
    "surplus_chunked": _coded(b"2\r\n{}\r\n" + END) + _POISON,
    "surplus_after_204": b"HTTP/1.1 204 No\r\n\r\n" + _POISON,
    "surplus_after_304": b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n" + _POISON,
    "204_with_body": b"HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\npoison",
    "204_chunked": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n" + END,
    "304_chunked": b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n" + END,
    "empty_then_body": _sized(b"") + b"poison",
    "two_answers": _sized() * 2,
    "three_answers": _sized() + _POISON * 2,
    "only_100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "only_103": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40,
    "100_with_length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + _sized(),
    "101_upgrade": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + _POISON,
    "101_after_100": b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 101 S\r\n\r\n" + _POISON,
    "request_as_answer": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "noise": bytes(range(256)),
    "nuls": b"\x00" * 200,
    "blank_lines": b"\r\n" * 40,
    "blank_line_before": b"\r\n" + _sized(),
    "endless_headers": OK + b"X-More: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 10000,
    "endless_line": OK + b"X-Long: " + b"z" * 300000,
    "endless_reason": b"HTTP/1.1 200 " + b"z" * 300000,
    "gzip_lie": _sized(b"not gzip at all", b"Content-Encoding: gzip"),
    "lf_head": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "cr_head": b"HTTP/1.1 200 OK\rContent-Length: 2\r\r{}",
    "two_lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "same_length": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length_list": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "cl_te": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + END,
    "te_cl": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n" + END,
    "te_1_0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + END,
    "te_twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    **{f"status_{v!r}": v + b"\r\n" + _SECOND + _POISON for v in _BAD_STATUS_LINES},
    **{f"length_{v!r}": OK + b"Content-Length: " + v + b"\r\n\r\n{}" + _POISON
       for v in _BAD_LENGTHS},
    **{f"coding_{v!r}": OK + b"Transfer-Encoding: " + v + b"\r\n\r\n2\r\n{}\r\n" + END + _POISON
       for v in _BAD_CODINGS},
    **{f"chunk_{name}": _coded(body.replace(CANARY, _POISON) + _POISON)
       for name, body in _BAD_CHUNKS.items()},
    **{f"line_{name}": OK + line.replace(CANARY, _POISON) + b"\r\n" + _SECOND
       for name, line in _BAD_LINES.items() if "host" not in name},
}  # fmt: skip

# What mutations have found, each with the day's reason; kept whatever the seed.
FOUND_REQUESTS: dict[str, bytes] = {}
FOUND_RESPONSES: dict[str, bytes] = {}

REQUESTS: dict[str, bytes] = {**GOOD_REQUESTS, **BAD_REQUESTS, **FOUND_REQUESTS}
RESPONSES: dict[str, bytes] = {
    **GOOD_RESPONSES,
    **{f"eof_{name}": wire for name, wire in CLOSE_DELIMITED.items()},
    **{f"bad_{name}": wire for name, wire in BAD_RESPONSES.items()},
    **{f"found_{name}": wire for name, wire in FOUND_RESPONSES.items()},
}
