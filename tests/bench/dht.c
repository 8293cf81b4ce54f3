/* bench_dht SECONDS FOLDER - what a DHT node does with records: takes them apart, proves them,
 * keeps them in its index and on disk (a store below FOLDER), answers FIND. Pure work is timed by
 * the thread's own CPU time, the disk by the wall clock. Nothing goes over a network: requests come
 * in as another worker would hand them on, and the answers are swallowed. */
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mp.h"
#include "base/secret.h"
#include "base/uv/env_uv.h"
#include "dht/dht_internal.h"
#include "dht/pseudonym.h"
#include "dht/store_internal.h"

enum {
    PUBLISHERS = 16,
    RECORDS = 4096, /* of 224 bytes: 256 of each publisher, below its quota */
    NODES = 512,    /* known to who answers FIND */
    SOURCES = 64,
    IN_FLIGHT = 64,   /* STOREs that wait for the disk */
    INDEXED = 100000, /* entries whose memory is counted */
    LIFE_S = 3600,
};

struct bench {
    double seconds;
    struct env *env;
    struct mesh *mesh;
    struct mesh_identity *identity;
    struct dht *dht;
    const struct mesh_network *net;
    uint64_t now;
    struct {
        uint8_t bytes[DHT_PROVIDER_MAX];
        size_t len;
    } records[RECORDS];
    unsigned n_offered, n_stored, n_failed;
    uint64_t n_answers, answer_bytes;
};

/* ---- times ----------------------------------------------------------------------------------- */

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_dht: %s failed\n", what);
    exit(1);
}

/* Calls `once` for record after record for the share of time; calls a CPU second. */
static double rate(struct bench *b, void (*once)(struct bench *b, unsigned i))
{
    double start = cpu_s();
    double spent;
    unsigned long n = 0;
    do {
        for (unsigned k = 0; k < 64; k++, n++)
            once(b, (unsigned)(n % RECORDS));
        spent = cpu_s() - start;
    } while (spent < b->seconds);
    return (double)n / spent;
}

/* ---- records and nodes ----------------------------------------------------------------------- */

static void solve(const struct mesh_pow_subject *s, uint8_t proof[static MESH_POW_PROOF])
{
    uint8_t nonce[16];
    randombytes_buf(nonce, sizeof nonce);
    must(mesh_pow_solve(s, 1, nonce, NULL, proof, NULL) == 0, "a puzzle");
}

static void make_pseudonym(struct bench *b, struct dht_pseudonym **out)
{
    struct mesh_pow_subject subject;
    uint8_t proof[MESH_POW_PROOF];
    *out = dht_pseudonym_create(b->env, NULL);
    must(*out != NULL, "a pseudonym");
    dht_pseudonym_subject(*out, &subject);
    solve(&subject, proof);
    must(dht_pseudonym_set_puzzle(*out, b->net, proof, NULL) == 0, "a pseudonym's puzzle");
}

static void make_records(struct bench *b)
{
    struct dht_pseudonym *key[PUBLISHERS];
    for (unsigned i = 0; i < PUBLISHERS; i++)
        make_pseudonym(b, &key[i]);
    for (unsigned i = 0; i < RECORDS; i++) {
        const struct dht_pseudonym *k = key[i % PUBLISHERS];
        struct dht_provider p = { .size = i, .sequence = 1, .expiry = b->now + LIFE_S };
        randombytes_buf(p.content, sizeof p.content);
        memcpy(p.address, key[0]->pk, sizeof p.address);
        memcpy(p.puzzle, k->puzzle, sizeof p.puzzle);
        int len = dht_provider_build(&p, b->net, k->sk, b->records[i].bytes);
        must(len > 0, "a record");
        b->records[i].len = (size_t)len;
    }
    for (unsigned i = 0; i < PUBLISHERS; i++)
        dht_pseudonym_destroy(key[i]);
}

static struct mesh_identity *make_identity(struct bench *b)
{
    struct mesh_identity *id =
        mesh_identity_create(b->env, (uint64_t)env_wall_ms(b->env) / 1000, NULL);
    struct mesh_pow_subject subject;
    uint8_t proof[MESH_POW_PROOF];
    must(id != NULL, "an identity");
    mesh_identity_subject(id, &subject);
    solve(&subject, proof);
    must(mesh_identity_set_puzzle(id, b->net, proof, NULL) == 0, "an identity's puzzle");
    return id;
}

/* Nodes into the table, as if each had answered. */
static void meet_nodes(struct bench *b)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct mesh_identity *id = make_identity(b);
        struct mesh_node n = { .sequence = 1, .expiry = b->now + LIFE_S, .n_addrs = 1 };
        struct mesh_contact to;
        uint8_t record[MESH_NODE_RECORD_MAX];
        memcpy(n.id, id->id, sizeof n.id);
        memcpy(n.identity, id->sign_pk, sizeof n.identity);
        memcpy(n.link_key, id->link.pub, sizeof n.link_key);
        memcpy(n.onion_key, id->onion[0].pub, sizeof n.onion_key);
        memcpy(n.puzzle, id->puzzle, sizeof n.puzzle);
        n.version[0] = 1;
        n.addrs[0] = (struct mesh_node_addr){
            .kind = 4, .ip = env_addr_v4(192, 0, 2, (uint8_t)i, (uint16_t)(1000 + i))
        };
        int len = mesh_node_record_build(&n, b->net, id->sign_sk, record);
        must(len > 0, "a node record");
        memcpy(to.id, n.id, sizeof to.id);
        memcpy(to.link_key, n.link_key, sizeof to.link_key);
        to.addr = n.addrs[0].ip;
        dht__seen(b->dht, &n, &to, record, (size_t)len);
        mesh_identity_destroy(id);
    }
}

/* ---- parsing and proving --------------------------------------------------------------------- */

static void parse(struct bench *b, unsigned i)
{
    struct dht_value v;
    must(dht_value_parse(&v, b->net, b->now, b->records[i].bytes, b->records[i].len) == DROP_NONE,
         "parsing");
}

static void parse_and_verify(struct bench *b, unsigned i)
{
    struct dht_value v;
    must(dht_value_parse(&v, b->net, b->now, b->records[i].bytes, b->records[i].len) == DROP_NONE &&
             dht_value_verify(&v, b->net, b->now) == DROP_NONE,
         "proving");
}

/* The bound: the same signature check over as many bytes, and nothing else. */
static double ed25519_rate(const struct bench *b)
{
    uint8_t pk[32], sk[64], sig[64];
    unsigned long n = 0;
    crypto_sign_keypair(pk, sk);
    crypto_sign_detached(sig, NULL, b->records[0].bytes, b->records[0].len, sk);
    double start = cpu_s();
    double spent;
    do {
        for (unsigned k = 0; k < 64; k++, n++)
            must(crypto_sign_verify_detached(sig, b->records[0].bytes, b->records[0].len, pk) == 0,
                 "Ed25519");
        spent = cpu_s() - start;
    } while (spent < b->seconds);
    return (double)n / spent;
}

/* ---- the index ------------------------------------------------------------------------------- */

/* Entries of ever other places, of one parsed record: puts a CPU second, and bytes of memory for
 * each. */
static double index_rate(struct bench *b, double *bytes_each)
{
    struct dht_store *s = b->dht->store;
    struct dht_value v;
    must(dht_value_parse(&v, b->net, b->now, b->records[0].bytes, b->records[0].len) == DROP_NONE,
         "parsing");
    size_t before = mallinfo2().uordblks;
    double start = cpu_s();
    for (unsigned i = 0; i < INDEXED; i++) {
        uint8_t place[DHT_ID] = { (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16) };
        must(store__index_add(s, &v, place, i % SOURCES) != NULL, "the index");
    }
    double spent = cpu_s() - start;
    *bytes_each = (double)(mallinfo2().uordblks - before) / INDEXED;
    while (!list_empty(&s->all))
        store__index_remove(s, container_of(s->all.next, struct store__entry, of_all));
    return INDEXED / spent;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void offer_more(struct bench *b);

static void stored(void *arg, enum dht_verdict v)
{
    struct bench *b = arg;
    if (v == DHT_TAKEN)
        b->n_stored++;
    else
        b->n_failed++;
    if (b->n_stored + b->n_failed == RECORDS)
        env_uv_stop(b->env);
    else
        offer_more(b);
}

static void offer_more(struct bench *b)
{
    if (b->n_offered == RECORDS)
        return;
    unsigned i = b->n_offered++;
    struct dht_value v;
    must(dht_value_parse(&v, b->net, b->now, b->records[i].bytes, b->records[i].len) == DROP_NONE,
         "parsing");
    dht_store_offer(b->dht->store, &v, v.places[0], i % SOURCES, b->now, stored, b, NULL);
}

/* Every record, checked and acknowledged when it is on disk. */
static double disk_rate(struct bench *b)
{
    double start = wall_s();
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        offer_more(b);
    env_uv_run(b->env);
    must(b->n_failed == 0, "storing");
    return b->n_stored / (wall_s() - start);
}

/* ---- FIND ------------------------------------------------------------------------------------ */

static bool swallow(void *arg, unsigned to, const struct mesh_parcel *p)
{
    struct bench *b = arg;
    (void)to;
    if (p->kind == MESH_PARCEL_REPLY) {
        b->n_answers++;
        b->answer_bytes += p->len;
    }
    return true;
}

static void find(struct bench *b, unsigned i)
{
    uint8_t buf[64];
    struct dht_value v;
    struct mesh_asker from = { .addr = env_addr_v4(192, 0, 2, 1, 1) };
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    must(dht_value_parse(&v, b->net, b->now, b->records[i].bytes, b->records[i].len) == DROP_NONE,
         "parsing");
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_uint8(&pk, MESH_METHOD_FIND);
    mp_pack_bin(&pk, v.places[0], DHT_ID);
    msgpack_pack_uint8(&pk, MESH_RECORD_PROVIDER);
    msgpack_pack_uint8(&pk, DHT_ANSWER_NODES);
    mesh_take_parcel(b->mesh, &(struct mesh_parcel){ .kind = MESH_PARCEL_REQUEST,
                                                     .ticket = (uint64_t)1 << 56,
                                                     .from = &from,
                                                     .data = buf,
                                                     .len = writer_len(&w) });
}

/* ---- life ------------------------------------------------------------------------------------ */

static void no_record(void *arg, const uint8_t *record, size_t len)
{
    (void)arg;
    (void)record;
    (void)len;
}

static void no_sequence(void *arg, uint64_t next)
{
    (void)arg;
    (void)next;
}

static void no_wish(void *arg)
{
    (void)arg;
}

static void open_node(struct bench *b, const char *folder)
{
    /* Worker 0 of two, of which the other hands requests on. */
    static const struct mesh_siblings siblings = {
        .own_record = no_record, .sequence = no_sequence, .wish = no_wish, .parcel = swallow
    };
    static struct mesh_config c;
    struct cyx_err err = { 0 };
    b->env = env_uv_create(&(struct env_uv_options){ .data_dir = folder }, &err);
    must(b->env != NULL, err.msg);
    must(mesh_network_init(&c.network, "bench", 1, true, &err) == 0, err.msg);
    b->net = &c.network;
    b->identity = make_identity(b);
    c.identity = b->identity;
    c.is_listed = true;
    c.listen = env_addr_v4(127, 0, 0, 1, 0);
    c.n_workers = 2;
    c.siblings = &siblings;
    c.siblings_arg = b;
    b->mesh = mesh_create(b->env, &c, &err);
    must(b->mesh != NULL && mesh_start(b->mesh, &err) == 0, err.msg);
    b->dht = dht_create(b->mesh, &(struct dht_config){ .is_serving = true }, &err);
    must(b->dht != NULL && dht_start(b->dht, &err) == 0, err.msg);
    b->now = mesh_time(b->mesh);
}

static void on_stopped(void *arg)
{
    env_uv_stop(arg);
}

static void close_node(struct bench *b)
{
    dht_stop(b->dht);
    mesh_stop(b->mesh, on_stopped, b->env);
    env_uv_run(b->env);
    dht_destroy(b->dht);
    mesh_destroy(b->mesh);
    env_uv_destroy(b->env);
    mesh_identity_destroy(b->identity);
}

int main(int argc, char **argv)
{
    static struct bench b;
    double bytes_each = 0;
    b.seconds = argc > 2 ? strtod(argv[1], NULL) : 0;
    if (!(b.seconds > 0 && b.seconds < 3600) || secret_init(NULL) < 0) {
        fprintf(stderr, "usage: bench_dht SECONDS FOLDER\n");
        return 2;
    }
    open_node(&b, argv[2]);
    make_records(&b);
    double parses = rate(&b, parse), proofs = rate(&b, parse_and_verify), bound = ed25519_rate(&b);
    double index = index_rate(&b, &bytes_each), disk = disk_rate(&b);
    meet_nodes(&b);
    double finds = rate(&b, find);
    printf("{\"parsed_per_s\":%.0f,\"verified_per_s\":%.0f,\"ed25519_per_s\":%.0f,"
           "\"verified_of_ed25519\":%.3f,\"index_puts_per_s\":%.0f,\"disk_puts_per_s\":%.0f,"
           "\"find_answers_per_s\":%.0f,\"find_answer_bytes\":%.0f,\"contacts\":%zu,"
           "\"record_bytes\":%zu,\"memory_bytes_per_record\":%.0f}\n",
           parses, proofs, bound, proofs / bound, index, disk, finds,
           (double)b.answer_bytes / (double)b.n_answers, dht_table_len(b.dht->table),
           b.records[0].len, bytes_each);
    close_node(&b);
    return 0;
}
