/* flood CONTACT SOURCES SECONDS [RATE] - a handshake flood on one node, from spoofed IPv4
 * addresses: well-formed INITs (their mac1 is right, as anybody can make it who knows the node's
 * key), each from another source in 10.200.0.0/16, and between them truncated, bit-flipped and
 * random datagrams. Raw sockets: needs root, in a network namespace of the lab. Prints one JSON
 * object. */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "mesh/handshake.h"
#include "mesh/mesh.h"

enum { N_INITS = 512, BURST = 64 };

struct flood {
    struct mesh_contact to;
    int fd;
    unsigned n_sources;
    uint8_t inits[N_INITS][MESH_INIT_LEN];
    uint64_t sent, sent_bytes; /* UDP payload */
    uint64_t sent_ip_bytes;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Real first messages, each with keys of its own. */
static bool make_inits(struct flood *f, const struct mesh_network *net)
{
    for (unsigned i = 0; i < N_INITS; i++) {
        struct mesh_hs_self self = { .net = net,
                                     .features = MESH_FEATURE_UNLISTED,
                                     .version = { 1, 1, 0, 0 } };
        struct mesh_hs_initiator hs;
        uint8_t e[32];
        randombytes_buf(self.secret, sizeof self.secret);
        randombytes_buf(e, sizeof e);
        crypto_dh_public(self.pub, self.secret);
        if (mesh_hs_init(&hs, &self, f->to.id, f->to.link_key, i + 1, 1, e, NULL, f->inits[i]) != 0)
            return false;
    }
    return true;
}

/* The IPv4 and UDP headers by hand: any source, no UDP checksum (0 is allowed over IPv4). */
static void send_from(struct flood *f, unsigned source, const uint8_t *data, size_t len)
{
    uint8_t packet[20 + 8 + 1500];
    uint32_t from = htonl(0x0ac80000u + 1 + source), to;
    memcpy(&to, f->to.addr.ip + 12, sizeof to);
    struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP };
    struct udphdr udp = { .source = htons((uint16_t)(1024 + source % 60000)),
                          .dest = htons(f->to.addr.port),
                          .len = htons((uint16_t)(8 + len)) };
    ip.tot_len = htons((uint16_t)(28 + len));
    ip.saddr = from;
    ip.daddr = to;
    memcpy(packet, &ip, sizeof ip);
    memcpy(packet + 20, &udp, sizeof udp);
    memcpy(packet + 28, data, len);
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { to } };
    if (sendto(f->fd, packet, 28 + len, 0, (struct sockaddr *)&sin, sizeof sin) > 0) {
        f->sent++;
        f->sent_bytes += len;
        f->sent_ip_bytes += 28 + len;
    }
}

/* Mostly whole INITs; one in eight is broken one way or another. */
static void send_next(struct flood *f)
{
    uint8_t data[1400];
    unsigned source = randombytes_uniform(f->n_sources);
    size_t len = MESH_INIT_LEN;
    memcpy(data, f->inits[randombytes_uniform(N_INITS)], len);
    switch (randombytes_uniform(32)) {
    case 0:
        len = randombytes_uniform(MESH_INIT_LEN);
        break;
    case 1:
        data[randombytes_uniform(MESH_INIT_LEN)] ^= (uint8_t)(1u << randombytes_uniform(8));
        break;
    case 2:
        len = 1 + randombytes_uniform(sizeof data);
        randombytes_buf(data, len);
        break;
    case 3: /* a data packet for nobody, and one larger than any of ours */
        len = sizeof data - randombytes_uniform(2) * (sizeof data - MESH_PACKET);
        randombytes_buf(data, len);
        data[0] = MESH_FULL;
        break;
    }
    send_from(f, source, data, len);
}

static void run(struct flood *f, double seconds, double rate)
{
    double start = now_s(), passed = 0;
    while ((passed = now_s() - start) < seconds) {
        if ((double)f->sent > passed * rate) {
            usleep(500);
            continue;
        }
        for (unsigned i = 0; i < BURST; i++)
            send_next(f);
    }
}

int main(int argc, char **argv)
{
    static struct flood f;
    struct mesh_network net;
    struct cyx_err err = { 0 };
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 0;
    double rate = argc > 4 ? strtod(argv[4], NULL) : 20000;
    f.n_sources = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (f.n_sources == 0 || f.n_sources > 65000 || !(seconds > 0) || !(rate > 0)) {
        fprintf(stderr, "usage: flood CONTACT SOURCES SECONDS [RATE]\n");
        return 2;
    }
    if (sodium_init() < 0 || mesh_network_init(&net, "lab", 1, true, &err) != 0 ||
        mesh_contact_parse(&f.to, argv[1], &err) != 0 || !make_inits(&f, &net)) {
        fprintf(stderr, "flood: %s\n", err.msg);
        return 2;
    }
    f.fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (f.fd < 0) {
        perror("flood: raw socket");
        return 2;
    }
    run(&f, seconds, rate);
    printf("{\"sent\":%llu,\"sent_bytes\":%llu,\"sent_ip_bytes\":%llu,\"sources\":%u}\n",
           (unsigned long long)f.sent, (unsigned long long)f.sent_bytes,
           (unsigned long long)f.sent_ip_bytes, f.n_sources);
    close(f.fd);
    return f.sent > 0 ? 0 : 1;
}
