/* Near things: multicast stays on its LAN, loopback on its machine, families apart; ports are taken
 * once; a row of datagrams arrives one by one. */
#include <string.h>

#include "tests/sim/scenarios/probe.h"

enum { BEACON_PORT = 4101 };

struct ear {
    struct sim_node *node;
    struct env_udp *udp;
    unsigned n_heard;
    size_t bytes, longest;
    struct env_addr from;
};

static void heard(void *arg, struct env_datagrams *batch, size_t n)
{
    struct ear *ear = arg;
    for (size_t i = 0; i < n; i++) {
        ear->n_heard++;
        ear->bytes += batch[i].len;
        ear->longest = batch[i].len > ear->longest ? batch[i].len : ear->longest;
        ear->from = batch[i].from;
    }
}

static void drop(void *arg, struct sim_node *n)
{
    struct ear *ear = arg;
    env_udp_close(sim_node_env(n), ear->udp);
}

static struct env_addr group(void)
{
    struct env_addr a;
    bool ok = env_addr_parse(&a, "[ff02::4359]:4101", NULL) == 0;
    return ok ? a : (struct env_addr){ 0 };
}

static void ear_add(struct ear *ear, struct sim_world *w, const struct sim_node_options *o)
{
    struct sim_node_options mine = *o;
    struct env_udp_options uo = {
        .bind.port = BEACON_PORT, .multicast = true, .group = group(), .received = heard, .arg = ear
    };
    *ear = (struct ear){ 0 };
    mine.drop = drop;
    mine.arg = ear;
    ear->node = sim_node_add(w, &mine);
    sim_node_boot(ear->node);
    if (env_udp_open(sim_node_env(ear->node), &uo, &ear->udp, NULL) < 0)
        ear->udp = NULL;
}

static void say(struct ear *ear, const struct env_addr *to, size_t len, size_t segment)
{
    static const uint8_t text[4096];
    env_udp_send(sim_node_env(ear->node), ear->udp, to, text, len, segment);
}

static struct env_addr v6(uint8_t last)
{
    return (struct env_addr){ .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = last } };
}

static void check_multicast(struct sim_run *r)
{
    struct sim_world *w = run_world(r, &sim_link_clean);
    struct sim_nat_options no = { .address = probe_address(1, 0) };
    struct sim_nat *nat = sim_nat_add(w, &no);
    struct ear a, b, lan_a, lan_b, far;
    struct env_addr to = group();
    ear_add(&a, w, &(struct sim_node_options){ .address = v6(1), .nat = nat });
    ear_add(&b, w, &(struct sim_node_options){ .address = v6(2), .nat = nat });
    ear_add(&lan_a, w, &(struct sim_node_options){ .address = v6(3), .lan = 7777 });
    ear_add(&lan_b, w, &(struct sim_node_options){ .address = v6(4), .lan = 7777 });
    ear_add(&far, w, &(struct sim_node_options){ .address = v6(5) });
    say(&a, &to, 10, 10);
    run_for(w, SIM_S(1));
    run_check(r, a.n_heard == 1 && b.n_heard == 1, "behind one NAT: %u and %u heard it", a.n_heard,
              b.n_heard);
    run_check(r, lan_a.n_heard + lan_b.n_heard + far.n_heard == 0, "a beacon left its LAN");
    run_check(r, memcmp(b.from.ip, v6(1).ip, 16) == 0, "a beacon from another address");
    say(&lan_a, &to, 10, 10);
    say(&far, &to, 10, 10);
    run_for(w, SIM_S(1));
    run_check(r, lan_b.n_heard == 1 && b.n_heard == 1 && far.n_heard == 1,
              "LAN by number: %u, NAT %u, alone %u", lan_b.n_heard, b.n_heard, far.n_heard);
    run_hash(r, w);
    sim_destroy(w);
}

static void check_families(struct sim_run *r)
{
    struct sim_world *w = run_world(r, &sim_link_clean);
    struct ear both, six;
    ear_add(&both, w,
            &(struct sim_node_options){ .address = probe_address(1, 0), .address6 = v6(1) });
    ear_add(&six, w, &(struct sim_node_options){ .address = v6(2) });
    struct env_addr to4 = probe_address(1, BEACON_PORT);
    struct env_addr to6 = v6(1);
    to6.port = BEACON_PORT;
    static const uint8_t x[1];
    struct env *e = sim_node_env(six.node);
    run_check(r, env_udp_send(e, six.udp, &to4, x, 1, 1) == CYX_EIO, "IPv6 alone reaches IPv4");
    run_check(r, env_udp_send(e, six.udp, &to6, x, 1, 1) == 0, "IPv6 doesn't reach IPv6");
    run_for(w, SIM_S(1));
    run_check(r, both.n_heard == 1 && memcmp(both.from.ip, v6(2).ip, 16) == 0, "heard %u over IPv6",
              both.n_heard);
    sim_destroy(w);
}

static void check_ports_and_rows(struct sim_run *r)
{
    struct sim_world *w = run_world(r, &sim_link_clean);
    struct ear a;
    struct probe p;
    struct env_addr at = probe_address(1, 0);
    struct env_addr self;
    ear_add(&a, w, &(struct sim_node_options){ .address = probe_address(2, 0) });
    probe_add(&p, w, &at, NULL);
    struct env *e = sim_node_env(p.node);
    struct env_udp_options o = { .bind.port = PROBE_PORT, .received = heard, .arg = &a };
    struct env_udp *u = NULL;
    struct env_udp_info info;
    struct cyx_err err;
    run_check(r, env_udp_open(e, &o, &u, &err) == CYX_EIO, "one port for two sockets");
    run_check(r, strstr(err.msg, "already in use") != NULL, "the message: %s", err.msg);
    o.bind.port = 0;
    run_check(r, env_udp_open(e, &o, &u, NULL) == 0, "no port is free");
    env_udp_info(e, u, &info);
    run_check(r, info.local.port != 0 && info.local.port != PROBE_PORT, "port %u", info.local.port);
    struct env_addr local = env_addr_v4(127, 0, 0, 1, info.local.port);
    probe_send(&p, &local, "to myself");
    run_for(w, SIM_MS(1));
    run_check(r, a.n_heard == 1 && env_addr_is_v4(&a.from), "loopback: %u heard", a.n_heard);
    self = probe_address(1, info.local.port);
    a = (struct ear){ .node = a.node, .udp = a.udp };
    say(&a, &self, 3000, 1328);
    run_for(w, SIM_S(1));
    run_check(r, a.n_heard == 3 && a.bytes == 3000 && a.longest == 1328,
              "a row of 3: %u heard, %zu bytes, longest %zu", a.n_heard, a.bytes, a.longest);
    env_udp_close(e, u);
    sim_destroy(w);
}

static void run(struct sim_run *r)
{
    check_multicast(r);
    check_families(r);
    check_ports_and_rows(r);
    run_figure(r, "nodes", "nodes in a case", 5, "");
}

extern const struct sim_scenario scenario_world_lan;
const struct sim_scenario scenario_world_lan = {
    .name = "world-lan",
    .help = "multicast stays on its LAN, loopback on its machine, families apart",
    .run = run,
};
