/* A load client for SSE: CONC connections, each asking for stream after stream for SECS seconds.
 *
 * Prints events/s, streams/s, errors, unfinished streams; the time to the first byte of a stream
 * and the delay of each event (now minus the "t" in it), p50 and p99 in microseconds.
 *
 * Usage: streams PORT CONC SECS CHUNKS DELAY_US [PATH] [header: value]...
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* One connection: when it asked, whether it has been answered, the bytes of an event half read. */
typedef struct {
    int fd;
    long long t0;
    int first;
    char tail[700];
    int tl;
} st;
static st S[20000];
static int fdi[70000];
static int ep, port;
static char req[8192];
static int rl;

/* All delays of events (D) and times to the first byte (T), in nanoseconds. */
static long long *D, *T;
static size_t dn, tn, cap = 8000000;
static long long chunks, streams, errors;

static int cmp(const void *a, const void *b) {
    long long x = *(long long *)a, y = *(long long *)b;
    return x < y ? -1 : x > y;
}

static void open1(int i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (void *)&a, sizeof a)) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    S[i].fd = fd;
    fdi[fd] = i;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static void ask(int i) {
    S[i].t0 = now();
    S[i].first = 0;
    S[i].tl = 0;
    if (write(S[i].fd, req, rl) != rl) {
        errors++;
    }
}

int main(int ac, char **av) {
    if (ac < 6) {
        fprintf(stderr, "usage\n");
        return 2;
    }
    port = atoi(av[1]);
    int conc = atoi(av[2]);
    double secs = atof(av[3]);
    const char *path = ac > 6 ? av[6] : "/v1/chat/completions";
    char b[2048], x[4096] = "";
    for (int i = 7; i < ac; i++) {
        strcat(x, av[i]);
        strcat(x, "\r\n");
    }
    char msg[1100];
    memset(msg, 'q', 1024);
    msg[1024] = 0;
    int bl = snprintf(b, sizeof b,
                      "{\"model\":\"gpt-bench\",\"stream\":true,"
                      "\"stream_options\":{\"include_usage\":true},"
                      "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                      msg);
    rl = snprintf(req, sizeof req,
                  "POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                  "authorization: Bearer sk-bench\r\naccept: text/event-stream\r\n"
                  "x-chunks: %s\r\nx-delay-us: %s\r\n%scontent-length: %d\r\n\r\n%s",
                  path, av[4], av[5], x, bl, b);
    D = malloc(cap * 8);
    T = malloc(cap * 8);
    ep = epoll_create1(0);
    for (int i = 0; i < conc; i++) {
        open1(i);
    }
    long long s = now(), end = s + (long long)(secs * 1e9), hard = end + 20000000000LL;
    for (int i = 0; i < conc; i++)
        ask(i);
    static char buf[1 << 17];
    struct epoll_event ev[512];
    int live = conc;
    while (live > 0 && now() < hard) {
        int n = epoll_wait(ep, ev, 512, 1000);
        for (int k = 0; k < n; k++) {
            int i = fdi[ev[k].data.fd];
            st *c = &S[i];
            memcpy(buf, c->tail, c->tl);
            ssize_t r = read(c->fd, buf + c->tl, sizeof buf - c->tl - 1);
            if (r <= 0) {
                if (r < 0 && errno == EAGAIN) continue;
                errors++;
                close(c->fd);
                c->tl = 0;
                if (now() < end) {
                    open1(i);
                    ask(i);
                } else
                    live--;
                continue;
            }
            long long w = now();
            if (!c->first) {
                c->first = 1;
                if (tn < cap) T[tn++] = w - c->t0;
                if (memmem(buf, r < 200 ? r : 200, " 200 ", 5) == 0) errors++;
            }
            char *p = buf, *e = buf + c->tl + r, *q, *keep = buf;
            while ((q = memmem(p, e - p, "\"t\":", 4)) && e - q > 24) {
                long long t = atoll(q + 4);
                if (dn < cap) D[dn++] = w - t;
                chunks++;
                p = q + 4;
                keep = p;
            }
            int done = memmem(keep, e - keep, "[DONE]", 6) &&
                       (memmem(keep, e - keep, "0\r\n\r\n", 5) != 0);
            if (done) {
                streams++;
                c->tl = 0;
                if (now() < end)
                    ask(i);
                else {
                    close(c->fd);
                    live--;
                }
                continue;
            }
            int t = e - keep;
            if (t > 600) {
                keep = e - 600;
                t = 600;
            }
            memmove(c->tail, keep, t);
            c->tl = t;
        }
    }
    double el = (now() - s) / 1e9;
    qsort(D, dn, 8, cmp);
    qsort(T, tn, 8, cmp);
    printf("conc=%d chunks/s=%.0f streams/s=%.1f streams=%lld errors=%lld unfinished=%d "
           "ttfb_us p50=%lld p99=%lld delay_us p50=%lld p99=%lld max=%lld\n",
           conc, chunks / el, streams / el, streams, errors, live, tn ? T[tn / 2] / 1000 : 0,
           tn ? T[(size_t)(tn * .99)] / 1000 : 0, dn ? D[dn / 2] / 1000 : 0,
           dn ? D[(size_t)(dn * .99)] / 1000 : 0, dn ? D[dn - 1] / 1000 : 0);
}
