#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/frame.h"
#include "vec.h"

static enum mesh_frame_type type_of(const char *name)
{
    static const char *const names[] = { "PADDING", "CELL", "CELL_HALF", "DESTROY",  "MSG",
                                         "RESEND",  "PING", "PONG",      "OBSERVED", "GOODBYE" };
    for (unsigned t = 0; t < sizeof names / sizeof *names; t++)
        if (strcmp(names[t], name) == 0)
            return (enum mesh_frame_type)t;
    cr_assert_fail("type %s", name);
    return MESH_FRAME_PADDING;
}

static void expect_msg(const json_t *v, const struct mesh_frame_msg *m)
{
    struct vec_bytes data = vec_bytes(v, "data");
    cr_assert_eq(m->kind, vec_u64(v, "kind"));
    cr_assert_eq(m->id, vec_u64(v, "id"));
    cr_assert_eq(m->index, vec_u64(v, "index"));
    cr_assert_eq(m->count, vec_u64(v, "count"));
    cr_assert_eq(m->len, data.len);
    cr_assert_arr_eq(m->data, data.b, data.len);
}

/* Compares the fields with the vector's. */
static void expect_fields(const json_t *v, const struct mesh_frame *f)
{
    char text[ENV_ADDR_TEXT];
    switch (f->type) {
    case MESH_FRAME_CELL:
        cr_assert_eq(f->cell.path, vec_u64(v, "path"));
        cr_assert_arr_eq(f->cell.cell, vec_bytes(v, "cell").b, MESH_CELL);
        break;
    case MESH_FRAME_DESTROY:
        cr_assert_eq(f->destroy, vec_u64(v, "path"));
        break;
    case MESH_FRAME_MSG:
        expect_msg(v, &f->msg);
        break;
    case MESH_FRAME_RESEND:
        cr_assert_eq(f->resend.kind, vec_u64(v, "kind"));
        cr_assert_eq(f->resend.id, vec_u64(v, "id"));
        cr_assert_arr_eq(f->resend.missing, vec_bytes(v, "missing").b, 16);
        break;
    case MESH_FRAME_PING:
    case MESH_FRAME_PONG:
        cr_assert_arr_eq(f->ping, vec_bytes(v, "opaque").b, 8);
        break;
    case MESH_FRAME_OBSERVED:
        cr_assert_str_eq(env_addr_text(&f->observed, text), vec_str(v, "address"));
        break;
    case MESH_FRAME_GOODBYE:
        cr_assert_eq(f->goodbye, vec_u64(v, "reason"));
        break;
    case MESH_FRAME_PADDING:
    case MESH_FRAME_CELL_HALF:
        break;
    }
}

static void put(struct writer *w, const struct mesh_frame *f)
{
    switch (f->type) {
    case MESH_FRAME_CELL:
        mesh_frame_put_cell(w, f->cell.path, f->cell.cell);
        break;
    case MESH_FRAME_DESTROY:
        mesh_frame_put_destroy(w, f->destroy);
        break;
    case MESH_FRAME_MSG:
        mesh_frame_put_msg(w, &f->msg);
        break;
    case MESH_FRAME_RESEND:
        mesh_frame_put_resend(w, &f->resend);
        break;
    case MESH_FRAME_PING:
    case MESH_FRAME_PONG:
        mesh_frame_put_ping(w, f->type, f->ping);
        break;
    case MESH_FRAME_OBSERVED:
        mesh_frame_put_observed(w, &f->observed);
        break;
    case MESH_FRAME_GOODBYE:
        mesh_frame_put_goodbye(w, (enum mesh_goodbye)f->goodbye);
        break;
    case MESH_FRAME_PADDING:
    case MESH_FRAME_CELL_HALF:
        mesh_frame_pad(w);
        break;
    }
}

/* Parses a heap copy of exact size; the frame's borrowed bytes are good until `*copy` is freed. */
static enum drop parse(const uint8_t *data, size_t len, struct mesh_frame *f, uint8_t **copy,
                       bool *unknown)
{
    *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(*copy);
    memcpy(*copy, data, len);
    struct reader r = reader_on(*copy, len);
    enum drop drop = mesh_frame_next(&r, f, unknown);
    if (drop == DROP_NONE)
        cr_assert(reader_done(&r), "nothing is left behind a single frame");
    return drop;
}

Test(frame, reads_and_writes_every_frame_of_the_vectors)
{
    json_t *root = vec_open("frame");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "frames"), at, v)
    {
        struct vec_bytes bytes = vec_bytes(v, "hex");
        struct mesh_frame f;
        uint8_t *copy, built[MESH_PACKET_ROOM];
        bool unknown = true;
        cr_assert_eq(parse(bytes.b, bytes.len, &f, &copy, &unknown), DROP_NONE);
        cr_assert_not(unknown);
        cr_assert_eq(f.type, type_of(vec_str(v, "type")));
        expect_fields(v, &f);
        struct writer w = writer_on(built, bytes.len);
        put(&w, &f);
        cr_assert(writer_ok(&w));
        cr_assert_eq(writer_len(&w), bytes.len);
        cr_assert_arr_eq(built, bytes.b, bytes.len);
        free(copy);
    }
    cr_assert_geq(at, 10u);
    vec_close(root);
}

Test(frame, refuses_every_truncation)
{
    json_t *root = vec_open("frame");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "frames"), at, v)
    {
        struct vec_bytes bytes = vec_bytes(v, "hex");
        if (bytes.b[0] == MESH_FRAME_PADDING)
            continue;
        for (size_t len = 1; len < bytes.len; len++) {
            struct mesh_frame f = { .type = MESH_FRAME_CELL_HALF };
            uint8_t *copy;
            bool unknown;
            cr_assert_eq(parse(bytes.b, len, &f, &copy, &unknown), DROP_SHORT, "%s, %zu bytes",
                         vec_str(v, "type"), len);
            cr_assert_eq(f.type, MESH_FRAME_CELL_HALF);
            free(copy);
        }
    }
    vec_close(root);
}

Test(frame, refuses_each_broken_rule)
{
    json_t *root = vec_open("frame");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "bad"), at, v)
    {
        struct vec_bytes bytes = vec_bytes(v, "hex");
        struct mesh_frame f = { .type = MESH_FRAME_CELL_HALF };
        uint8_t *copy;
        bool unknown;
        cr_assert_eq(parse(bytes.b, bytes.len, &f, &copy, &unknown), DROP_FIELD, "%s",
                     vec_str(v, "name"));
        cr_assert_eq(f.type, MESH_FRAME_CELL_HALF);
        free(copy);
    }
    cr_assert_geq(at, 14u);
    struct vec_bytes bytes = vec_bytes(root, "largest_last");
    struct mesh_frame f;
    uint8_t *copy;
    bool unknown;
    cr_assert_eq(parse(bytes.b, bytes.len, &f, &copy, &unknown), DROP_NONE);
    free(copy);
    vec_close(root);
}

Test(frame, ends_a_packet_at_an_unknown_type)
{
    json_t *root = vec_open("frame");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "unknown"), at, v)
    {
        struct vec_bytes bytes = vec_hex(v);
        struct mesh_frame f;
        uint8_t *copy;
        bool unknown = false;
        cr_assert_eq(parse(bytes.b, bytes.len, &f, &copy, &unknown), DROP_NONE);
        cr_assert(unknown, "type %u", bytes.b[0]);
        cr_assert_eq(f.type, MESH_FRAME_PADDING);
        free(copy);
    }
    cr_assert_geq(at, 4u);
    vec_close(root);
}

Test(frame, reads_frames_one_after_another_and_ends_with_padding)
{
    uint8_t packet[MESH_PACKET_ROOM], cell[MESH_CELL];
    struct mesh_frame f;
    bool unknown;
    memset(packet, 0xee, sizeof packet);
    memset(cell, 7, sizeof cell);
    struct writer w = writer_on(packet, sizeof packet);
    mesh_frame_put_ping(&w, MESH_FRAME_PING, (const uint8_t *)"pingping");
    mesh_frame_put_cell(&w, 9, cell);
    mesh_frame_pad(&w);
    cr_assert(writer_ok(&w));
    cr_assert_eq(writer_len(&w), sizeof packet);
    struct reader r = reader_on(packet, sizeof packet);
    cr_assert_eq(mesh_frame_next(&r, &f, &unknown), DROP_NONE);
    cr_assert_eq(f.type, MESH_FRAME_PING);
    cr_assert_eq(mesh_frame_next(&r, &f, &unknown), DROP_NONE);
    cr_assert_eq(f.type, MESH_FRAME_CELL);
    cr_assert_eq(f.cell.cell, packet + 9 + 5, "a cell is borrowed, not copied");
    for (int n = 0; n < 3; n++) { /* the end stays the end */
        cr_assert_eq(mesh_frame_next(&r, &f, &unknown), DROP_NONE);
        cr_assert_eq(f.type, MESH_FRAME_PADDING);
        cr_assert_not(unknown);
    }
    /* The next cell doesn't fit: nothing is written over the end. */
    w = writer_on(packet, MESH_FRAME_CELL_LEN - 1);
    mesh_frame_put_cell(&w, 9, cell);
    cr_assert_not(writer_ok(&w));
}

Test(frame, fits_a_cell_and_what_goes_along_with_it)
{
    cr_assert_eq(MESH_PACKET_HEAD + MESH_PACKET_ROOM + MESH_PACKET_TAG, MESH_PACKET);
    cr_assert_leq(MESH_FRAME_CELL_LEN + MESH_FRAME_PING_LEN, (int)MESH_PACKET_ROOM);
    cr_assert_eq(MESH_FRAME_MSG_HEAD + MESH_MSG_FRAGMENT, (int)MESH_PACKET_ROOM);
    cr_assert_leq((int)MESH_PACKET + 8 + 40, 1420);
}

/* Cuts a message by the wire's rule, as the vectors do. */
static void hash_fragments(const json_t *v, const uint8_t *data, uint8_t hash[static 32])
{
    size_t size = vec_u64(v, "size");
    uint8_t count = (uint8_t)vec_u64(v, "count");
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    for (uint8_t i = 0; i < count; i++) {
        size_t at = (size_t)i * MESH_MSG_FRAGMENT;
        size_t len = size - at < MESH_MSG_FRAGMENT ? size - at : MESH_MSG_FRAGMENT;
        struct mesh_frame_msg m = { .kind = (uint8_t)vec_u64(v, "kind"),
                                    .id = (uint32_t)vec_u64(v, "id"),
                                    .index = i,
                                    .count = count,
                                    .len = (uint16_t)len,
                                    .data = data + at };
        uint8_t frame[MESH_PACKET_ROOM];
        struct mesh_frame f;
        bool unknown;
        struct writer w = writer_on(frame, sizeof frame);
        mesh_frame_put_msg(&w, &m);
        cr_assert(writer_ok(&w));
        struct reader r = reader_on(frame, writer_len(&w));
        cr_assert_eq(mesh_frame_next(&r, &f, &unknown), DROP_NONE);
        cr_assert_eq(f.msg.index, i);
        crypto_hash_sha256_update(&st, frame, writer_len(&w));
    }
    crypto_hash_sha256_final(&st, hash);
}

Test(frame, carries_messages_of_every_size_of_the_table)
{
    json_t *root = vec_open("fragment");
    const json_t *v;
    size_t at;
    uint8_t *data = malloc(MESH_MSG_MAX);
    cr_assert_not_null(data);
    for (size_t i = 0; i < MESH_MSG_MAX; i++)
        data[i] = (uint8_t)(i * 31 + i / 256);
    json_array_foreach(vec_get(root, "fragments"), at, v)
    {
        uint8_t hash[32], want[32];
        vec_copy(v, "frames_sha256", want, sizeof want);
        hash_fragments(v, data, hash);
        cr_assert_arr_eq(hash, want, sizeof want, "size %zu", (size_t)vec_u64(v, "size"));
    }
    cr_assert_geq(at, 5u);
    free(data);
    vec_close(root);
}
