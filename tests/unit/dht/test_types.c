#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "made.h"

static const unsigned all_types[] = { MESH_RECORD_NODE, MESH_RECORD_DESCRIPTOR,
                                      MESH_RECORD_PROVIDER, MESH_RECORD_OFFER };
enum { N_TYPES = 4, HOUR = 3600, DAY = 86400 };

/* Parses what must parse. */
static struct dht_value parsed(const struct made *m, const uint8_t *data, size_t len)
{
    struct dht_value v;
    enum drop drop = dht_value_parse(&v, &m->net, MADE_NOW, data, len);
    cr_assert_eq(drop, DROP_NONE, "%s", drop_name(drop));
    return v;
}

/* ---- the table ------------------------------------------------------------------------------- */

Test(types, are_found_by_number_by_name_and_in_order)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct dht_type *t = dht_type_at(i);
        cr_assert_not_null(t);
        cr_assert_eq(t->number, all_types[i]);
        cr_assert_eq(dht_type_get(all_types[i]), t);
        cr_assert_eq(dht_type_by_name(t->name), t);
    }
    cr_assert_null(dht_type_at(N_TYPES));
    cr_assert_null(dht_type_by_name("name"));
    cr_assert_null(dht_type_by_name(""));
}

Test(types, know_neither_names_nor_numbers_that_are_not_given_out)
{
    for (unsigned n = 0; n < 300; n++)
        cr_assert_eq(dht_type_get(n) != NULL, n >= 1 && n <= 4, "type %u", n);
}

/* ---- all types alike ------------------------------------------------------------------------- */

Test(record_types, take_a_valid_record_of_each_type)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        struct dht_value v = parsed(&m, out, len);
        enum drop drop = dht_value_verify(&v, &m.net, MADE_NOW);
        cr_assert_eq(drop, DROP_NONE, "%s: %s", v.type->name, drop_name(drop));
        cr_assert_eq(v.type->number, all_types[i]);
        cr_assert_eq(v.data, out);
        cr_assert_eq(v.len, len);
        cr_assert_eq(v.n_places, all_types[i] == MESH_RECORD_DESCRIPTOR ? 2u : 1u);
    }
}

Test(record_types, refuse_every_truncation_and_leave_output_alone)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        for (size_t cut = 0; cut < len; cut++)
            cr_assert_eq(made_judge(&m, out, cut), DROP_SHORT, "type %u, length %zu", all_types[i],
                         cut);
        struct dht_value v = { .serial = 99 };
        cr_assert_eq(dht_value_parse(&v, &m.net, MADE_NOW, out, len - 1), DROP_SHORT);
        cr_assert_eq(v.serial, 99u);
    }
}

Test(record_types, refuse_a_trailing_byte)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        cr_assert_eq(made_judge(&m, out, len + 1), DROP_FIELD, "type %u", all_types[i]);
    }
}

Test(record_types, refuse_every_flipped_bit)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_neq(made_judge(&m, out, len), DROP_NONE, "type %u, bit %zu", all_types[i],
                          bit);
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        cr_assert_eq(made_judge(&m, out, len), DROP_NONE);
    }
}

Test(record_types, refuse_records_of_another_network)
{
    struct made m = made_start(), other = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    cr_assert_eq(mesh_network_init(&other.net, "another", 1, true, NULL), 0);
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        cr_assert_eq(made_judge(&other, out, len), DROP_SIGNATURE, "type %u", all_types[i]);
    }
}

Test(record_types, refuse_names_and_unknown_types)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    static const unsigned unknown[] = { 0, MESH_RECORD_NAME, 6, 255 };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        size_t len = made_envelope(&m, unknown[i], MADE_NOW + HOUR, "x", 1, out);
        cr_assert_eq(made_judge(&m, out, len), DROP_TYPE, "type %u", unknown[i]);
    }
}

Test(record_types, ask_for_the_effort_of_their_network)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        m.net.id_effort = 1;
        size_t len = made_record(&m, all_types[i], out);
        m.net.id_effort = 2;
        cr_assert_eq(made_judge(&m, out, len),
                     all_types[i] == MESH_RECORD_DESCRIPTOR ? DROP_NONE : DROP_PROOF, "type %u",
                     all_types[i]);
    }
}

Test(record_types, refuse_a_body_that_is_empty)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_envelope(&m, all_types[i], MADE_NOW + HOUR, "", 0, out);
        enum drop want = all_types[i] == MESH_RECORD_DESCRIPTOR ? DROP_FIELD : DROP_SHORT;
        cr_assert_eq(made_judge(&m, out, len), want, "type %u", all_types[i]);
    }
}

Test(record_types, refuse_more_than_the_largest_of_each_type)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    static const size_t most[] = { 1024, 8192, 256, 2048 };
    for (size_t i = 0; i < N_TYPES; i++) {
        cr_assert_eq(dht_type_get(all_types[i])->len_max, most[i]);
        if (most[i] == DHT_DESCRIPTOR_MAX)
            continue; /* no envelope is larger */
        size_t len = made_envelope(&m, all_types[i], MADE_NOW + HOUR, m.inner, most[i] - 115, out);
        cr_assert_eq(len, most[i] + 1);
        cr_assert_eq(made_judge(&m, out, len), DROP_LONG, "type %u", all_types[i]);
    }
    static uint8_t much[DHT_DESCRIPTOR_MAX + 1];
    cr_assert_eq(made_judge(&m, much, sizeof much), DROP_LONG);
}

Test(record_types, belong_where_they_say_and_nowhere_else)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t len = made_record(&m, all_types[i], out);
        struct dht_value v = parsed(&m, out, len);
        uint8_t place[DHT_ID];
        for (unsigned k = 0; k < v.n_places; k++) {
            memcpy(place, v.places[k], DHT_ID);
            cr_assert(dht_value_belongs(&v, place));
            place[31] ^= 1;
            cr_assert_not(dht_value_belongs(&v, place));
        }
        memset(place, 0, sizeof place); /* what an unused place holds */
        cr_assert_not(dht_value_belongs(&v, place));
    }
}

Test(record_types, compare_by_serial_then_by_sequence)
{
    struct dht_value a = { .serial = 2, .head = { .sequence = 5 } }, b = a;
    cr_assert_eq(dht_value_compare(&a, &b), 0);
    b.head.sequence = UINT64_MAX;
    cr_assert_lt(dht_value_compare(&a, &b), 0);
    cr_assert_gt(dht_value_compare(&b, &a), 0);
    a.serial = UINT32_MAX;
    cr_assert_gt(dht_value_compare(&a, &b), 0);
    cr_assert_lt(dht_value_compare(&b, &a), 0);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

Test(node_type, is_placed_at_the_nodes_id_and_signed_by_its_identity)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX], id[32];
    struct dht_value v = parsed(&m, out, made_record(&m, MESH_RECORD_NODE, out));
    mesh_node_id(id, m.self.pk, m.self.puzzle);
    cr_assert(dht_value_belongs(&v, id));
    cr_assert_arr_eq(v.signer, m.self.pk, 32);
    cr_assert_eq(v.serial, 0u);
}

/* ---- providers ------------------------------------------------------------------------------- */

/* A provider record with one thing changed. */
static enum drop judge_provider(const struct made *m, const struct dht_provider *p)
{
    uint8_t out[DHT_PROVIDER_MAX];
    int len = dht_provider_build(p, &m->net, m->self.sk, out);
    cr_assert_gt(len, 0);
    return made_judge(m, out, (size_t)len);
}

Test(provider, reads_what_was_built)
{
    struct made m = made_start();
    struct dht_provider p = made_provider(&m), got;
    uint8_t out[DHT_DESCRIPTOR_MAX], place[DHT_ID];
    p.size = UINT64_MAX;
    int len = dht_provider_build(&p, &m.net, m.self.sk, out);
    cr_assert_eq(len, 52 + 108 + 64);
    struct dht_value v = parsed(&m, out, (size_t)len);
    cr_assert(dht_provider_read(&got, &v));
    cr_assert_arr_eq(got.content, p.content, 32);
    cr_assert_arr_eq(got.address, p.address, 32);
    cr_assert_arr_eq(got.puzzle, p.puzzle, MESH_POW_PROOF);
    cr_assert_eq(got.size, p.size);
    cr_assert_eq(got.sequence, p.sequence);
    cr_assert_eq(got.expiry, p.expiry);
    dht_provider_place(place, p.content);
    cr_assert(dht_value_belongs(&v, place));
    cr_assert_arr_eq(v.signer, m.self.pk, 32);
}

Test(provider, lives_for_a_day_at_most)
{
    struct made m = made_start();
    struct dht_provider p = made_provider(&m);
    static const struct {
        uint64_t expiry;
        enum drop want;
    } cases[] = { { MADE_NOW + 1, DROP_NONE }, { MADE_NOW + DAY, DROP_NONE },
                  { MADE_NOW, DROP_EXPIRED },  { MADE_NOW + DAY + 1, DROP_EXPIRED },
                  { 0, DROP_EXPIRED },         { UINT64_MAX, DROP_EXPIRED } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p.expiry = cases[i].expiry;
        cr_assert_eq(judge_provider(&m, &p), cases[i].want, "case %zu", i);
    }
}

Test(provider, refuses_the_puzzle_of_another_key)
{
    struct made m = made_start();
    struct dht_provider p = made_provider(&m);
    memcpy(p.puzzle, m.blinded.puzzle, sizeof p.puzzle);
    cr_assert_eq(judge_provider(&m, &p), DROP_PROOF);
}

Test(provider, refuses_an_address_that_is_no_point_of_the_group)
{
    struct made m = made_start();
    struct dht_provider p = made_provider(&m);
    memset(p.address, 0, sizeof p.address); /* of small order */
    cr_assert_eq(judge_provider(&m, &p), DROP_KEY);
    memset(p.address, 0xff, sizeof p.address); /* not canonical */
    cr_assert_eq(judge_provider(&m, &p), DROP_KEY);
}

Test(provider, has_one_size)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    size_t len = made_envelope(&m, MESH_RECORD_PROVIDER, MADE_NOW + HOUR, m.inner, 107, out);
    cr_assert_eq(made_judge(&m, out, len), DROP_SHORT);
    len = made_envelope(&m, MESH_RECORD_PROVIDER, MADE_NOW + HOUR, m.inner, 109, out);
    cr_assert_eq(made_judge(&m, out, len), DROP_FIELD);
}

/* ---- offers ---------------------------------------------------------------------------------- */

/* Puts puzzle and any bytes into an offer's envelope. */
static enum drop judge_map(const struct made *m, const void *map, size_t len)
{
    uint8_t body[DHT_OFFER_MAX], out[DHT_DESCRIPTOR_MAX];
    memcpy(body, m->self.puzzle, MESH_POW_PROOF);
    memcpy(body + MESH_POW_PROOF, map, len);
    size_t n =
        made_envelope(m, MESH_RECORD_OFFER, MADE_NOW + HOUR, body, MESH_POW_PROOF + len, out);
    return made_judge(m, out, n);
}

Test(offer, reads_what_was_built)
{
    struct made m = made_start();
    struct dht_offer o = made_offer(&m), got;
    uint8_t out[DHT_DESCRIPTOR_MAX], id[32], place[DHT_ID];
    struct dht_value v = parsed(&m, out, made_record(&m, MESH_RECORD_OFFER, out));
    cr_assert(dht_offer_read(&got, &v));
    cr_assert_arr_eq(got.puzzle, o.puzzle, MESH_POW_PROOF);
    cr_assert_eq(got.map_len, o.map_len);
    cr_assert_arr_eq(got.map, o.map, o.map_len);
    cr_assert_eq(got.sequence, o.sequence);
    cr_assert_eq(got.expiry, o.expiry);
    mesh_node_id(id, m.self.pk, m.self.puzzle);
    dht_offer_place(place, id[0]);
    cr_assert(dht_value_belongs(&v, place));
    dht_offer_place(place, id[0] ^ 1);
    cr_assert_not(dht_value_belongs(&v, place));
}

Test(offer, lives_for_six_hours_at_most)
{
    struct made m = made_start();
    struct dht_offer o = made_offer(&m);
    uint8_t out[DHT_OFFER_MAX];
    for (unsigned i = 0; i < 2; i++) {
        o.expiry = MADE_NOW + 6 * HOUR + i;
        int len = dht_offer_build(&o, &m.net, m.self.sk, out);
        cr_assert_gt(len, 0);
        cr_assert_eq(made_judge(&m, out, (size_t)len), i == 0 ? DROP_NONE : DROP_EXPIRED);
    }
}

Test(offer, takes_any_canonical_map_and_nothing_else)
{
    struct made m = made_start();
    static const struct {
        const char *why;
        uint8_t map[12];
        size_t len;
        enum drop want;
    } cases[] = {
        { "empty map", { 0x80 }, 1, DROP_NONE },
        { "two keys", { 0x82, 1, 2, 2, 3 }, 5, DROP_NONE },
        { "nothing", { 0 }, 0, DROP_SHORT },
        { "a value is missing", { 0x81, 1 }, 2, DROP_SHORT },
        { "more keys than bytes", { 0xdf, 0xff, 0xff, 0xff, 0xff }, 5, DROP_SHORT },
        { "nil", { 0xc0 }, 1, DROP_FIELD },
        { "array", { 0x91, 1 }, 2, DROP_FIELD },
        { "keys descend", { 0x82, 2, 2, 1, 3 }, 5, DROP_FIELD },
        { "key twice", { 0x82, 1, 2, 1, 3 }, 5, DROP_FIELD },
        { "integer too long", { 0x81, 1, 0xcc, 1 }, 4, DROP_FIELD },
        { "map's head too long", { 0xde, 0, 1, 1, 1 }, 5, DROP_FIELD },
        { "bytes behind", { 0x80, 0 }, 2, DROP_FIELD },
        { "float", { 0x81, 1, 0xca, 0, 0, 0, 0 }, 7, DROP_FIELD },
        { "extension", { 0x81, 1, 0xd4, 0, 0 }, 5, DROP_FIELD },
        { "no UTF-8", { 0x81, 1, 0xa1, 0xff }, 4, DROP_FIELD },
        { "seven levels", { 0x81, 1, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 1 }, 9, DROP_LIMIT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum drop drop = judge_map(&m, cases[i].map, cases[i].len);
        /* A count above the bytes left is refused either way: which reason is the guard's. */
        bool ok = drop == cases[i].want || (cases[i].want == DROP_SHORT && drop == DROP_LIMIT);
        cr_assert(ok, "%s: %s", cases[i].why, drop_name(drop));
    }
}

/* A map {1: bin} that is `len` bytes long. */
static void long_map(uint8_t *map, size_t len)
{
    size_t bin = len - 5;
    const uint8_t head[] = { 0x81, 1, 0xc5, (uint8_t)(bin >> 8), (uint8_t)bin };
    memset(map, 0, len);
    memcpy(map, head, sizeof head);
}

Test(offer, holds_2048_bytes_and_no_more)
{
    struct made m = made_start();
    struct dht_offer o = made_offer(&m);
    uint8_t map[DHT_OFFER_MAX], out[DHT_OFFER_MAX];
    o.map = map;
    o.map_len = DHT_OFFER_MAX - 116 - MESH_POW_PROOF;
    long_map(map, o.map_len);
    cr_assert_eq(dht_offer_build(&o, &m.net, m.self.sk, out), (int)DHT_OFFER_MAX);
    cr_assert_eq(made_judge(&m, out, DHT_OFFER_MAX), DROP_NONE);
    o.map_len++;
    long_map(map, o.map_len);
    cr_assert_eq(dht_offer_build(&o, &m.net, m.self.sk, out), CYX_EFULL);
}

Test(offer, is_not_built_around_a_map_that_nobody_would_take)
{
    struct made m = made_start();
    struct dht_offer o = made_offer(&m);
    uint8_t out[DHT_OFFER_MAX];
    o.map_len--;
    cr_assert_eq(dht_offer_build(&o, &m.net, m.self.sk, out), CYX_EINVAL);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static enum drop judge_descriptor(const struct made *m, const struct dht_descriptor *d)
{
    uint8_t out[DHT_DESCRIPTOR_MAX];
    int len = dht_descriptor_build(d, &m->net, m->d.sk, out);
    cr_assert_gt(len, 0);
    return made_judge(m, out, (size_t)len);
}

Test(descriptor, comes_in_three_sizes)
{
    struct made m = made_start();
    static const size_t sizes[] = { 2048, 4096, 8192 };
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < 3; i++) {
        struct dht_descriptor d = made_descriptor(&m, sizes[i]);
        cr_assert_eq(dht_descriptor_build(&d, &m.net, m.d.sk, out), (int)sizes[i]);
        cr_assert_eq(made_judge(&m, out, sizes[i]), DROP_NONE);
        d.inner_len--;
        cr_assert_eq(dht_descriptor_build(&d, &m.net, m.d.sk, out), CYX_EINVAL);
        d.inner_len += 2;
        cr_assert_eq(dht_descriptor_build(&d, &m.net, m.d.sk, out), CYX_EINVAL);
    }
}

Test(descriptor, reads_what_was_built)
{
    struct made m = made_start();
    struct dht_descriptor d = made_descriptor(&m, 2048), got;
    uint8_t out[DHT_DESCRIPTOR_MAX], place[DHT_ID];
    struct dht_value v = parsed(&m, out, made_record(&m, MESH_RECORD_DESCRIPTOR, out));
    cr_assert(dht_descriptor_read(&got, &v));
    cr_assert_arr_eq(got.blinded, d.blinded, 32);
    cr_assert_arr_eq(got.d, d.d, 32);
    cr_assert_arr_eq(got.delegation, d.delegation, 64);
    cr_assert_arr_eq(got.proof, d.proof, MESH_POW_PROOF);
    cr_assert_arr_eq(got.nonce, d.nonce, 24);
    cr_assert_eq(got.period, d.period);
    cr_assert_eq(got.serial, d.serial);
    cr_assert_eq(got.sequence, d.sequence);
    cr_assert_eq(got.inner_len, d.inner_len);
    cr_assert_arr_eq(got.inner, d.inner, d.inner_len);
    cr_assert_eq(v.serial, 5u);
    cr_assert_arr_eq(v.signer, m.d.pk, 32);
    for (uint8_t i = 0; i < 2; i++) {
        dht_descriptor_place(place, &m.net, m.blinded.pk, d.period, i);
        cr_assert(dht_value_belongs(&v, place));
    }
    dht_descriptor_place(place, &m.net, m.blinded.pk, d.period, 2);
    cr_assert_not(dht_value_belongs(&v, place));
}

Test(descriptor, is_of_this_period_or_a_neighbour)
{
    struct made m = made_start();
    const uint64_t own = dht_period(MADE_NOW);
    static const uint64_t noon = 1699963200; /* MADE_NOW is 36800 s later */
    cr_assert_eq(own * DHT_PERIOD_S + DHT_PERIOD_OFFSET_S, noon);
    for (uint64_t p = own - 2; p <= own + 2; p++) {
        struct dht_descriptor d = made_descriptor(&m, 2048);
        d.period = p;
        d.sequence = 0;
        made_delegate(&m, &d);
        enum drop want = p + 1 >= own && p <= own + 1 ? DROP_NONE : DROP_EXPIRED;
        cr_assert_eq(judge_descriptor(&m, &d), want, "%d", (int)(p - own));
    }
}

Test(descriptor, ends_half_a_day_after_its_period)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct dht_value v;
    size_t len = made_record(&m, MESH_RECORD_DESCRIPTOR, out);
    const uint64_t end = (dht_period(MADE_NOW) + 1) * DAY + 43200 + 43200;
    cr_assert_eq(dht_value_parse(&v, &m.net, end - 1, out, len), DROP_NONE);
    cr_assert_eq(dht_value_parse(&v, &m.net, end, out, len), DROP_EXPIRED);
    out[19] ^= 1; /* lowest byte of the expiry */
    cr_assert_eq(dht_value_parse(&v, &m.net, MADE_NOW, out, len), DROP_FIELD);
}

Test(descriptor, has_no_sequence_from_more_than_an_hour_ahead)
{
    struct made m = made_start();
    for (int near = -1; near <= 1; near++) {
        struct dht_descriptor d = made_descriptor(&m, 2048);
        d.period = dht_period(MADE_NOW) + (uint64_t)(int64_t)near;
        made_delegate(&m, &d);
        uint64_t start = (d.period - 1) * DAY + 43200;
        d.sequence = ((MADE_NOW - start) / 60 + 60) * 256 + 255;
        cr_assert_eq(judge_descriptor(&m, &d), DROP_NONE, "%d", near);
        d.sequence++;
        cr_assert_eq(judge_descriptor(&m, &d), DROP_FIELD, "%d", near);
        d.sequence = UINT64_MAX;
        cr_assert_eq(judge_descriptor(&m, &d), DROP_FIELD, "%d", near);
    }
}

Test(descriptor, costs_256_outside_of_a_lab)
{
    struct made m = made_start();
    struct mesh_pow_subject s = { .purpose = MESH_POW_DESCRIPTOR };
    const uint8_t nonce[16] = { 0 };
    m.net.is_lab = false;
    struct dht_descriptor d = made_descriptor(&m, 2048);
    cr_assert_eq(judge_descriptor(&m, &d), DROP_PROOF);
    memcpy(s.x, d.blinded, sizeof s.x);
    cr_assert_eq(mesh_pow_solve(&s, 256, nonce, NULL, d.proof, NULL), 0);
    cr_assert_eq(judge_descriptor(&m, &d), DROP_NONE);
}

Test(descriptor, needs_a_delegation_for_its_period_serial_and_key)
{
    struct made m = made_start();
    struct dht_descriptor d = made_descriptor(&m, 2048), other = d;
    other.serial++;
    made_delegate(&m, &other);
    memcpy(d.delegation, other.delegation, sizeof d.delegation);
    cr_assert_eq(judge_descriptor(&m, &d), DROP_SIGNATURE);
    other = made_descriptor(&m, 2048);
    other.period++;
    made_delegate(&m, &other);
    memcpy(d.delegation, other.delegation, sizeof d.delegation);
    cr_assert_eq(judge_descriptor(&m, &d), DROP_SIGNATURE);
    other = made_descriptor(&m, 2048);
    memcpy(other.d, m.self.pk, sizeof other.d);
    made_delegate(&m, &other);
    memcpy(d.delegation, other.delegation, sizeof d.delegation);
    cr_assert_eq(judge_descriptor(&m, &d), DROP_SIGNATURE);
}

Test(descriptor, is_signed_by_the_delegated_key_and_not_by_the_blinded_one)
{
    struct made m = made_start();
    struct dht_descriptor d = made_descriptor(&m, 2048);
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct mesh_record r;
    cr_assert_eq(dht_descriptor_build(&d, &m.net, m.blinded.sk, out), CYX_EINVAL);
    size_t len = made_record(&m, MESH_RECORD_DESCRIPTOR, out);
    cr_assert_eq(mesh_record_parse(&r, out, len), DROP_NONE);
    uint8_t again[DHT_DESCRIPTOR_MAX];
    cr_assert_eq(mesh_record_build(&m.net, &r, m.blinded.sk, again, sizeof again), (int)len);
    cr_assert_eq(made_judge(&m, again, len), DROP_SIGNATURE);
}

Test(descriptor, is_not_built_for_a_period_at_the_end_of_time)
{
    struct made m = made_start();
    struct dht_descriptor d = made_descriptor(&m, 2048);
    uint8_t out[DHT_DESCRIPTOR_MAX];
    d.period = UINT64_MAX / DAY - 1;
    cr_assert_eq(dht_descriptor_build(&d, &m.net, m.d.sk, out), CYX_EINVAL);
    d.period = UINT64_MAX;
    cr_assert_eq(dht_descriptor_build(&d, &m.net, m.d.sk, out), CYX_EINVAL);
}

/* ---- reading one type as another ------------------------------------------------------------- */

Test(record_types, are_not_read_as_one_another)
{
    struct made m = made_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (size_t i = 0; i < N_TYPES; i++) {
        struct dht_value v = parsed(&m, out, made_record(&m, all_types[i], out));
        struct dht_provider p;
        struct dht_offer o;
        struct dht_descriptor d;
        cr_assert_eq(dht_provider_read(&p, &v), all_types[i] == MESH_RECORD_PROVIDER);
        cr_assert_eq(dht_offer_read(&o, &v), all_types[i] == MESH_RECORD_OFFER);
        cr_assert_eq(dht_descriptor_read(&d, &v), all_types[i] == MESH_RECORD_DESCRIPTOR);
    }
}

/* ---- periods --------------------------------------------------------------------------------- */

Test(period, runs_from_noon_to_noon)
{
    cr_assert_eq(dht_period(0), 0u);
    cr_assert_eq(dht_period(43199), 0u);
    cr_assert_eq(dht_period(43200), 0u);
    cr_assert_eq(dht_period(43200 + DAY - 1), 0u);
    cr_assert_eq(dht_period(43200 + DAY), 1u);
}

Test(period, has_places_of_its_own_for_each_key_replica_and_network)
{
    struct made m = made_start(), other = made_start();
    uint8_t a[32], b[32];
    dht_descriptor_place(a, &m.net, m.d.pk, 5, 0);
    dht_descriptor_place(b, &m.net, m.d.pk, 5, 1);
    cr_assert_arr_neq(a, b, 32);
    dht_descriptor_place(b, &m.net, m.d.pk, 6, 0);
    cr_assert_arr_neq(a, b, 32);
    dht_descriptor_place(b, &m.net, m.self.pk, 5, 0);
    cr_assert_arr_neq(a, b, 32);
    cr_assert_eq(mesh_network_init(&other.net, "another", 1, true, NULL), 0);
    dht_descriptor_place(b, &other.net, m.d.pk, 5, 0);
    cr_assert_arr_neq(a, b, 32);
}
