/* tests/lab/wire.h - what the lab's forwarder consists of: ports (tun devices, one in each network
 * namespace), pipes (what happens to packets from one port to another), packets on their way. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    WIRE_PORTS_MAX = 64,
    WIRE_PACKET_MAX = 65536,
    WIRE_FULL = 1328, /* UDP payload of a link packet that carries a cell */
    WIRE_HELD_MAX = 1 << 17
};

/* What a pipe did. All counts are IP packets. */
struct wire_counts {
    uint64_t packets, bytes; /* came in */
    uint64_t delivered, delivered_bytes;
    uint64_t lost, lost_full;   /* by the loss rate; of those, link packets of full size */
    uint64_t cut, cut_full;     /* while the pipe was cut */
    uint64_t queue, queue_full; /* the rate's queue was full, or the receiver's tun was */
    uint64_t oversize;          /* larger than the pipe's MTU */
    uint64_t biggest;           /* bytes of the largest packet that came in */
};

struct wire_pipe {
    uint64_t delay_ns, jitter_ns;
    double loss, reorder; /* shares, 0..1; a reordered packet leaves without its delay */
    uint64_t rate_bps;    /* bits a second, 0: no limit */
    uint64_t queue_ns;    /* with a rate: the longest that a packet waits for its turn */
    unsigned mtu;         /* bytes of an IP packet, 0: no limit */
    bool is_cut;
    uint64_t free_at_ns; /* with a rate: when the pipe is free again */
    struct wire_counts n;
};

struct wire_packet {
    uint64_t due_ns;
    uint64_t order; /* of arrival: packets that are due together leave in order */
    unsigned from, to;
    size_t len;
    uint8_t *data;
};

struct wire {
    unsigned n_ports;
    int fd[WIRE_PORTS_MAX];
    struct wire_pipe pipe[WIRE_PORTS_MAX][WIRE_PORTS_MAX];
    uint64_t unroutable; /* to an address of no port: answers to spoofed senders */
    uint64_t unroutable_bytes;
    uint64_t from_unroutable_bytes[WIRE_PORTS_MAX]; /* of those, by the port that sent them */
    struct wire_packet *heap[WIRE_HELD_MAX];
    size_t n_held;
    uint64_t n_arrived;
    uint64_t random; /* state of the loss generator: a seed replays a run's decisions in order */
    FILE *capture;   /* pcap of what is delivered, NULL: off */
};

/* Opens `name` as a tun device in each named namespace (ip netns), in order. 0, or -1 with the
 * reason on stderr. */
int wire_open(struct wire *w, char **namespaces, unsigned n);

/* Takes in one IP packet that `from` sent: routes it by its destination's last octet (IPv4) or last
 * two bytes (IPv6), which is the port number from 1, and holds, drops or loses it. */
void wire_take(struct wire *w, unsigned from, const uint8_t *data, size_t len, uint64_t now_ns);

/* Delivers what is due; returns when the next packet is, or 0 when nothing is held. */
uint64_t wire_deliver(struct wire *w, uint64_t now_ns);

/* Runs one command line and prints its answer (one line) on stdout. */
void wire_command(struct wire *w, char *line);
