/* tests/lab/wire_command.c - what a test tells the forwarder at run time. */
#include <stdlib.h>
#include <string.h>

#include "tests/lab/wire.h"

/* "1".."n" or "*": the ports it names, as a range [*lo, *hi). */
static bool parse_ports(const struct wire *w, const char *word, unsigned *lo, unsigned *hi)
{
    if (word == NULL)
        return false;
    *lo = 0;
    *hi = w->n_ports;
    if (strcmp(word, "*") == 0)
        return true;
    char *end;
    unsigned long port = strtoul(word, &end, 10);
    if (*end != '\0' || port == 0 || port > w->n_ports)
        return false;
    *lo = (unsigned)port - 1;
    *hi = *lo + 1;
    return true;
}

/* One "key=value" of `set`. */
static bool set_one(struct wire_pipe *p, const char *word)
{
    const char *eq = strchr(word, '=');
    char *end;
    if (eq == NULL)
        return false;
    size_t n = (size_t)(eq - word);
    double v = strtod(eq + 1, &end);
    if (end == eq + 1 || *end != '\0' || !(v >= 0) || v > 1e12)
        return false;
    if (n == 5 && memcmp(word, "delay", n) == 0) /* ms */
        p->delay_ns = (uint64_t)(v * 1e6);
    else if (n == 6 && memcmp(word, "jitter", n) == 0) /* ms, added to the delay */
        p->jitter_ns = (uint64_t)(v * 1e6);
    else if (n == 4 && memcmp(word, "loss", n) == 0) /* percent */
        p->loss = v / 100;
    else if (n == 7 && memcmp(word, "reorder", n) == 0) /* percent */
        p->reorder = v / 100;
    else if (n == 4 && memcmp(word, "rate", n) == 0) /* kbit/s */
        p->rate_bps = (uint64_t)(v * 1000);
    else if (n == 5 && memcmp(word, "queue", n) == 0) /* ms */
        p->queue_ns = (uint64_t)(v * 1e6);
    else if (n == 3 && memcmp(word, "mtu", n) == 0)
        p->mtu = (unsigned)v;
    else if (n == 3 && memcmp(word, "cut", n) == 0)
        p->is_cut = v > 0;
    else
        return false;
    return true;
}

/* set FROM TO key=value...: changes the pipes. */
static const char *command_set(struct wire *w, char **save)
{
    unsigned from_lo, from_hi, to_lo, to_hi;
    if (!parse_ports(w, strtok_r(NULL, " ", save), &from_lo, &from_hi) ||
        !parse_ports(w, strtok_r(NULL, " ", save), &to_lo, &to_hi))
        return "error: set FROM TO key=value...; ports are numbers or *";
    for (char *word = strtok_r(NULL, " ", save); word != NULL; word = strtok_r(NULL, " ", save))
        for (unsigned i = from_lo; i < from_hi; i++)
            for (unsigned j = to_lo; j < to_hi; j++)
                if (!set_one(&w->pipe[i][j], word))
                    return "error: keys are delay jitter loss reorder rate queue mtu cut";
    return "ok";
}

static void add(struct wire_counts *sum, const struct wire_counts *n)
{
    sum->packets += n->packets;
    sum->bytes += n->bytes;
    sum->delivered += n->delivered;
    sum->delivered_bytes += n->delivered_bytes;
    sum->lost += n->lost;
    sum->lost_full += n->lost_full;
    sum->cut += n->cut;
    sum->cut_full += n->cut_full;
    sum->queue += n->queue;
    sum->queue_full += n->queue_full;
    sum->oversize += n->oversize;
    sum->biggest = n->biggest > sum->biggest ? n->biggest : sum->biggest;
}

#define N(field) (unsigned long long)sum.field

/* count FROM TO: one JSON object with the sums over those pipes. */
static const char *command_count(struct wire *w, char **save)
{
    unsigned from_lo, from_hi, to_lo, to_hi;
    struct wire_counts sum = { 0 };
    unsigned long long unroutable = 0;
    if (!parse_ports(w, strtok_r(NULL, " ", save), &from_lo, &from_hi) ||
        !parse_ports(w, strtok_r(NULL, " ", save), &to_lo, &to_hi))
        return "error: count FROM TO; ports are numbers or *";
    for (unsigned i = from_lo; i < from_hi; i++) {
        unroutable += w->from_unroutable_bytes[i];
        for (unsigned j = to_lo; j < to_hi; j++)
            add(&sum, &w->pipe[i][j].n);
    }
    printf("{\"packets\":%llu,\"bytes\":%llu,\"delivered\":%llu,\"delivered_bytes\":%llu,"
           "\"lost\":%llu,\"lost_full\":%llu,\"cut\":%llu,\"cut_full\":%llu,\"queue\":%llu,"
           "\"queue_full\":%llu,\"oversize\":%llu,\"biggest\":%llu,\"unroutable_bytes\":%llu,"
           "\"held\":%zu}\n",
           N(packets), N(bytes), N(delivered), N(delivered_bytes), N(lost), N(lost_full), N(cut),
           N(cut_full), N(queue), N(queue_full), N(oversize), N(biggest), unroutable, w->n_held);
    return NULL;
}

/* capture FILE | capture off: a pcap of what is delivered. */
static const char *command_capture(struct wire *w, char **save)
{
    const char *path = strtok_r(NULL, " ", save);
    static const uint32_t head[6] = { 0xa1b2c3d4, 2 | 4u << 16, 0, 0, WIRE_PACKET_MAX, 101 };
    if (path == NULL)
        return "error: capture FILE, or capture off";
    if (w->capture != NULL)
        fclose(w->capture);
    w->capture = NULL;
    if (strcmp(path, "off") == 0)
        return "ok";
    w->capture = fopen(path, "we");
    if (w->capture == NULL)
        return "error: can't write that file";
    fwrite(head, sizeof head, 1, w->capture);
    return "ok";
}

void wire_command(struct wire *w, char *line)
{
    char *save = NULL;
    const char *word = strtok_r(line, " \n", &save), *answer = "error: set, count, capture, seed";
    if (word == NULL)
        answer = "error: empty line";
    else if (strcmp(word, "set") == 0)
        answer = command_set(w, &save);
    else if (strcmp(word, "count") == 0)
        answer = command_count(w, &save);
    else if (strcmp(word, "capture") == 0)
        answer = command_capture(w, &save);
    else if (strcmp(word, "seed") == 0) {
        w->random = strtoull(save != NULL ? save : "0", NULL, 10);
        answer = "ok";
    }
    if (answer != NULL)
        puts(answer);
    fflush(stdout);
}
