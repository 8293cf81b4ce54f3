/* wire NAMESPACE... - joins network namespaces through a network of our own, since not every kernel
 * has netem: opens a tun device "wire" in each, forwards IP packets between them with delay,
 * jitter, loss, reordering, a rate, an MTU, or not at all. Port i (from 1) owns 10.77.x.i and
 * fd77:...:i.
 *
 * Prints "ready", then reads commands from standard input, one a line, and answers each with a
 * line: set FROM TO key=value...   delay jitter queue (ms) loss reorder (%) rate (kbit/s) mtu cut
 *   count FROM TO              one JSON object; FROM and TO are port numbers or *
 *   capture FILE | off         a pcap of what is delivered
 *   seed N                     of the loss
 * Ends with its standard input. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/wire.h"

enum { BUDGET = 64 /* packets from a port in one turn, so that none starves the others */ };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_port(const char *namespace)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) {
        fprintf(stderr, "wire: %s: %s\n", path, strerror(errno));
        if (ns >= 0)
            close(ns);
        return -1;
    }
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    memcpy(r.ifr_name, "wire", 5);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0) {
        fprintf(stderr, "wire: tun in %s: %s\n", namespace, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

int wire_open(struct wire *w, char **namespaces, unsigned n)
{
    for (; w->n_ports < n; w->n_ports++) {
        w->fd[w->n_ports] = open_port(namespaces[w->n_ports]);
        if (w->fd[w->n_ports] < 0)
            return -1;
    }
    return 0;
}

static void read_port(struct wire *w, unsigned port)
{
    static uint8_t buf[WIRE_PACKET_MAX];
    for (int i = 0; i < BUDGET; i++) {
        ssize_t len = read(w->fd[port], buf, sizeof buf);
        if (len <= 0)
            return;
        wire_take(w, port, buf, (size_t)len, now_ns());
    }
}

/* Reads what is there of standard input and runs whole lines; false at its end. */
static bool read_commands(struct wire *w)
{
    static char line[1024];
    static size_t used;
    ssize_t n = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    used += (size_t)n;
    line[used] = '\0';
    for (char *end = strchr(line, '\n'); end != NULL; end = strchr(line, '\n')) {
        *end = '\0';
        wire_command(w, line);
        used -= (size_t)(end + 1 - line);
        memmove(line, end + 1, used + 1);
    }
    return used < sizeof line - 1;
}

static void run(struct wire *w)
{
    struct pollfd p[WIRE_PORTS_MAX + 1];
    for (unsigned i = 0; i < w->n_ports; i++)
        p[i] = (struct pollfd){ .fd = w->fd[i], .events = POLLIN };
    p[w->n_ports] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    for (;;) {
        uint64_t due = wire_deliver(w, now_ns()), now = now_ns();
        uint64_t wait = due > now ? due - now : 0;
        struct timespec ts = { (time_t)(wait / 1000000000u), (long)(wait % 1000000000u) };
        if (ppoll(p, w->n_ports + 1, due != 0 ? &ts : NULL, NULL) < 0 && errno != EINTR)
            return;
        for (unsigned i = 0; i < w->n_ports; i++)
            if (p[i].revents & POLLIN)
                read_port(w, i);
        if (p[w->n_ports].revents != 0 && !read_commands(w))
            return;
    }
}

int main(int argc, char **argv)
{
    static struct wire w; /* its pipes and heap are too large for a stack */
    if (argc < 2 || argc - 1 > WIRE_PORTS_MAX) {
        fprintf(stderr, "usage: wire NAMESPACE... (at most %d)\n", WIRE_PORTS_MAX);
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    w.random = 1;
    if (wire_open(&w, argv + 1, (unsigned)argc - 1) != 0)
        return 1;
    puts("ready");
    fflush(stdout);
    run(&w);
    if (w.capture != NULL)
        fclose(w.capture);
    return 0;
}
