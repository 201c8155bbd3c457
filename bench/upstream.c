/* A fake LLM upstream, far cheaper than any proxy: one epoll thread, HTTP/1.1 keep-alive.
 *
 * POST with "stream":true in the body: SSE, chunked, N events of about 250 bytes, one write each.
 *   Every event carries "t":<CLOCK_MONOTONIC ns at the write>, so that a client on this machine
 *   can read its delay.
 * Any other request: one chat.completion of about 1.5 KB.
 * Headers: x-chunks: N (default 100); x-delay-us: D between events (default 0: all at once, still
 *   one write each).
 *
 * Usage: upstream PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAXFD 65536
#define BUF 262144

/* left: events to send; due: when the next one is; out[ooff..olen]: what waits to be written. */
typedef struct {
    char *in;
    size_t len;
    int left;
    long delay;
    long long due;
    char *out;
    size_t olen, ooff, ocap;
} conn;
static conn *C[MAXFD];
static int ep;
static char body[4096];
static char canned[8192];
static size_t canned_len;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void drop(int fd) {
    if (C[fd]) {
        free(C[fd]->in);
        free(C[fd]->out);
        free(C[fd]);
        C[fd] = 0;
    }
    close(fd);
}

/* Watches a connection for reading, and for writing while output waits. */
static void want(int fd, int w) {
    struct epoll_event e = {.events = EPOLLIN | (w ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

/* Writes what the socket takes and keeps the rest; -1 when the connection is broken. */
static int put(int fd, const char *p, size_t n) {
    conn *c = C[fd];
    if (c->olen == c->ooff) {
        ssize_t w = write(fd, p, n);
        if (w == (ssize_t)n) return 0;
        if (w < 0) {
            if (errno != EAGAIN) return -1;
            w = 0;
        }
        p += w;
        n -= w;
        c->olen = c->ooff = 0;
        want(fd, 1);
    }
    if (c->olen + n > c->ocap) {
        c->ocap = (c->olen + n) * 2;
        c->out = realloc(c->out, c->ocap);
    }
    memcpy(c->out + c->olen, p, n);
    c->olen += n;
    return 0;
}

/* The next event of the stream, a chunk of its own; the last one brings the usage and the end. */
static int event(int fd) {
    conn *c = C[fd];
    char d[512], f[640];
    int n;
    if (c->left > 1)
        n = snprintf(
            d, sizeof d,
            "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
            "\"created\":1790000000,\"model\":\"gpt-bench\",\"t\":%lld,\"choices\":[{\"index\":0,"
            "\"delta\":{\"content\":\" token number %d of the answer\"},"
            "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
            now(), c->left);
    else
        n = snprintf(
            d, sizeof d,
            "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
            "\"created\":1790000000,\"model\":\"gpt-bench\",\"t\":%lld,\"choices\":[],"
            "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}\n\n"
            "data: [DONE]\n\n",
            now());
    int m = snprintf(f, sizeof f, "%x\r\n%.*s\r\n%s", n, n, d, c->left == 1 ? "0\r\n\r\n" : "");
    c->left--;
    return put(fd, f, m);
}

/* The value of a header in a head of n bytes, or 0. */
static const char *hdr(const char *h, size_t n, const char *k) {
    const char *p = h, *e = h + n;
    size_t kl = strlen(k);
    while (p < e) {
        const char *l = memchr(p, '\n', e - p);
        if (!l) break;
        if ((size_t)(l - p) > kl && !strncasecmp(p, k, kl) && p[kl] == ':') return p + kl + 1;
        p = l + 1;
    }
    return 0;
}

/* Answers the requests that are here whole; a stream is begun, and the timer goes on with it. */
static int serve(int fd) {
    conn *c = C[fd];
    for (;;) {
        if (c->left) return 0;
        char *h = memmem(c->in, c->len, "\r\n\r\n", 4);
        if (!h) return 0;
        size_t hl = h - c->in + 4;
        const char *v = hdr(c->in, hl, "content-length");
        size_t cl = v ? strtoul(v, 0, 10) : 0;
        size_t total = hl + cl;
        if (!v && (v = hdr(c->in, hl, "transfer-encoding"))) {
            char *z = memmem(c->in + hl, c->len - hl, "0\r\n\r\n", 5);
            if (!z) return 0;
            total = z + 5 - c->in;
        }
        if (c->len < total) return 0;
        int stream = total > hl && (memmem(c->in + hl, total - hl, "\"stream\":true", 13) ||
                                    memmem(c->in + hl, total - hl, "\"stream\": true", 14));
        if (stream) {
            v = hdr(c->in, hl, "x-chunks");
            c->left = v ? atoi(v) : 100;
            v = hdr(c->in, hl, "x-delay-us");
            c->delay = v ? atol(v) : 0;
        }
        memmove(c->in, c->in + total, c->len - total);
        c->len -= total;
        if (!stream) {
            if (put(fd, canned, canned_len)) return -1;
            continue;
        }
        static const char head[] =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            "cache-control: no-cache\r\nx-request-id: req_bench\r\n"
            "transfer-encoding: chunked\r\n\r\n";
        if (put(fd, head, sizeof head - 1)) return -1;
        if (c->delay == 0) {
            while (c->left)
                if (event(fd)) return -1;
        } else
            c->due = now() + c->delay * 1000LL;
    }
}

int main(int ac, char **av) {
    int port = ac > 1 ? atoi(av[1]) : 9000;
    signal(SIGPIPE, SIG_IGN);
    char txt[1200];
    memset(txt, 'x', sizeof txt);
    for (int i = 7; i < 1199; i += 8)
        txt[i] = ' ';
    txt[1199] = 0;
    int bl = snprintf(
        body, sizeof body,
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1790000000,"
        "\"model\":\"gpt-bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"%s\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}",
        txt);
    canned_len = snprintf(canned, sizeof canned,
                          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                          "content-length: %d\r\nx-request-id: req_bench\r\n\r\n%s",
                          bl, body);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) {
        perror("bind");
        return 1;
    }
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = s};
    epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec it = {{0, 1000000}, {0, 1000000}};
    timerfd_settime(t, 0, &it, 0);
    e.data.fd = t;
    epoll_ctl(ep, EPOLL_CTL_ADD, t, &e);
    struct epoll_event ev[1024];
    int maxfd = 0;
    for (;;) {
        int n = epoll_wait(ep, ev, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = ev[i].data.fd;
            if (fd == s) {
                int k;
                while ((k = accept4(s, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    if (k >= MAXFD) {
                        close(k);
                        continue;
                    }
                    setsockopt(k, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    C[k] = calloc(1, sizeof(conn));
                    C[k]->in = malloc(BUF);
                    if (k > maxfd) maxfd = k;
                    struct epoll_event x = {.events = EPOLLIN, .data.fd = k};
                    epoll_ctl(ep, EPOLL_CTL_ADD, k, &x);
                }
                continue;
            }
            /* one tick a millisecond: every stream whose next event is due */
            if (fd == t) {
                unsigned long long x;
                if (read(t, &x, 8) < 0) {
                }
                long long w = now();
                for (int k = 0; k <= maxfd; k++)
                    if (C[k] && C[k]->left && C[k]->delay && C[k]->due <= w) {
                        C[k]->due += C[k]->delay * 1000LL;
                        if (event(k)) drop(k);
                    }
                continue;
            }
            conn *c = C[fd];
            if (!c) continue;
            int bad = 0;
            if (ev[i].events & EPOLLOUT) {
                ssize_t w = write(fd, c->out + c->ooff, c->olen - c->ooff);
                if (w < 0 && errno != EAGAIN)
                    bad = 1;
                else if (w > 0)
                    c->ooff += w;
                if (c->ooff == c->olen) {
                    c->olen = c->ooff = 0;
                    want(fd, 0);
                }
            }
            if (!bad && (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
                ssize_t r = read(fd, c->in + c->len, BUF - c->len);
                if (r <= 0 && !(r < 0 && errno == EAGAIN))
                    bad = 1;
                else {
                    if (r > 0) c->len += r;
                    bad = serve(fd) < 0;
                }
            }
            if (bad) drop(fd);
        }
    }
}
