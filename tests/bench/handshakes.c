/* bench_handshakes [SECONDS] - link handshakes a second of one core, beside the bound that X25519
 * alone sets in the same run. Everything is in memory: what is timed is mesh/handshake.h. The
 * responder's share (four DH and one key generation) is timed apart, since it is what a flood
 * costs. Time is the thread's own CPU time: other load changes the figures little. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "mesh/handshake.h"
#include "mesh/network.h"

struct pair {
    struct mesh_network net;
    struct mesh_hs_self initiator, responder;
};

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_self(struct mesh_hs_self *s, const struct mesh_network *net)
{
    *s = (struct mesh_hs_self){ .net = net, .version = { 1, 1, 0, 0 } };
    randombytes_buf(s->id, sizeof s->id);
    randombytes_buf(s->secret, sizeof s->secret);
    crypto_dh_public(s->pub, s->secret);
}

/* One whole handshake; adds the responder's CPU seconds to *responder_s. False when it failed. */
static bool handshake(struct pair *p, uint64_t sequence, double *responder_s)
{
    struct mesh_hs_initiator i;
    struct mesh_hs_responder r;
    struct mesh_hs_result theirs, ours;
    uint8_t init[MESH_INIT_LEN], resp[MESH_RESP_LEN], e[32];

    randombytes_buf(e, sizeof e);
    if (mesh_hs_init(&i, &p->initiator, p->responder.id, p->responder.pub, 7, sequence, e, NULL,
                     init) != 0)
        return false;
    randombytes_buf(e, sizeof e);
    double t = cpu_s();
    if (mesh_hs_init_precheck(init, sizeof init, p->responder.pub) != DROP_NONE ||
        mesh_hs_accept(&r, &p->responder, init, sizeof init) != DROP_NONE ||
        mesh_hs_respond(&r, &p->responder, 9, 1000, e, NULL, resp, &theirs) != 0)
        return false;
    *responder_s += cpu_s() - t;
    if (mesh_hs_finish(&i, &p->initiator, resp, sizeof resp, &ours) != DROP_NONE)
        return false;
    return memcmp(theirs.send_key, ours.recv_key, sizeof ours.recv_key) == 0;
}

/* X25519 operations a CPU second: with a point of the peer's, and with the base point. */
static void x25519_rate(double seconds, double *dh, double *base)
{
    uint8_t secret[32], point[32];
    unsigned long n = 0;
    randombytes_buf(secret, sizeof secret);
    crypto_dh_public(point, secret);
    double start = cpu_s();
    for (; cpu_s() - start < seconds; n++)
        if (crypto_dh(point, secret, point) != 0)
            return;
    *dh = (double)n / (cpu_s() - start);
    start = cpu_s();
    for (n = 0; cpu_s() - start < seconds; n++)
        crypto_dh_public(secret, secret);
    *base = (double)n / (cpu_s() - start);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2, dh = 0, base = 0, responder_s = 0;
    struct pair p;
    if (!(seconds > 0 && seconds < 3600) || sodium_init() < 0 ||
        mesh_network_init(&p.net, "bench", 1, true, NULL) != 0)
        return 2;
    make_self(&p.initiator, &p.net);
    make_self(&p.responder, &p.net);
    x25519_rate(seconds / 4, &dh, &base);
    unsigned long n = 0;
    double start = cpu_s();
    for (; cpu_s() - start < seconds; n++) {
        if (!handshake(&p, n + 1, &responder_s)) {
            fprintf(stderr, "bench_handshakes: a handshake failed\n");
            return 1;
        }
    }
    double all = (double)n / (cpu_s() - start), responder = (double)n / responder_s;
    double bound = 1 / (4 / dh + 1 / base);
    printf("{\"handshakes_per_s\":%.0f,\"responder_per_s\":%.0f,\"responder_bound_per_s\":%.0f,"
           "\"responder_of_bound\":%.3f,\"x25519_per_s\":%.0f,\"x25519_base_per_s\":%.0f}\n",
           all, responder, bound, responder / bound, dh, base);
    return 0;
}
