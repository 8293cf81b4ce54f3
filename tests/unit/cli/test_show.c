#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/cli/show.h"

Test(show, bytes_and_seconds_read_well)
{
    char t[SHOW_TEXT];
    cr_expect_str_eq(show_bytes(0, t), "0 B");
    cr_expect_str_eq(show_bytes(1023, t), "1023 B");
    cr_expect_str_eq(show_bytes(1024, t), "1.0 KiB");
    cr_expect_str_eq(show_bytes(3.5 * 1024 * 1024, t), "3.5 MiB");
    cr_expect_str_eq(show_seconds(0.0000005, t), "0 us");
    cr_expect_str_eq(show_seconds(0.0421, t), "42.1 ms");
    cr_expect_str_eq(show_seconds(7, t), "7.0 s");
    cr_expect_str_eq(show_seconds(3725, t), "1 h 2 min");
    cr_expect_str_eq(show_seconds((double)NAN, t), "-");
}

/* Packs {"a": "x\x1b[2J", "b": 7, "c": true, "d": 1.5, "e": bin, "f": [nil, -3]} and parses it. */
static void parse_sample(struct mp_doc *doc, uint8_t *buf, size_t cap)
{
    struct writer w = writer_on(buf, cap);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 6);
    mp_pack_str(&pk, "a");
    mp_pack_str(&pk, "x\x1b[2J");
    mp_pack_str(&pk, "b");
    msgpack_pack_int(&pk, 7);
    mp_pack_str(&pk, "c");
    msgpack_pack_true(&pk);
    mp_pack_str(&pk, "d");
    msgpack_pack_double(&pk, 1.5);
    mp_pack_str(&pk, "e");
    mp_pack_bin(&pk, "\x00\xff", 2);
    mp_pack_str(&pk, "f");
    msgpack_pack_array(&pk, 2);
    msgpack_pack_nil(&pk);
    msgpack_pack_int(&pk, -3);
    cr_assert(writer_ok(&w));
    cr_assert_eq(mp_parse(doc, buf, writer_len(&w), &mp_local_rules), DROP_NONE);
}

Test(show, members_have_defaults_and_terminals_get_no_control_characters)
{
    uint8_t buf[128];
    char text[4];
    cleanup_mp struct mp_doc doc = { 0 };
    parse_sample(&doc, buf, sizeof buf);
    cr_expect_str_eq(show_str(&doc.root, "a", text, sizeof text), "x?[", "cut and cleaned");
    cr_expect_str_eq(show_str(&doc.root, "nope", text, sizeof text), "");
    cr_expect_eq(show_u64(&doc.root, "b"), 7u);
    cr_expect_eq(show_u64(&doc.root, "a"), 0u, "another type is absent");
    cr_expect(show_bool(&doc.root, "c"));
    cr_expect_eq(show_number(&doc.root, "d"), 1.5);
    cr_expect_eq(show_number(&doc.root, "b"), 7.0);
    cr_expect(isnan(show_number(&doc.root, "a")));
}

Test(show, terminals_get_no_c1_controls_and_nothing_that_reorders)
{
    static const struct {
        const char *in, *out;
    } cases[] = { { "a\xc2\x9b"
                    "2J",
                    "a?2J" },
                  { "\xc2\xa0\xc3\xa9\xe2\x82\xac", "\xc2\xa0\xc3\xa9\xe2\x82\xac" },
                  { "x\xe2\x80\xaey\xe2\x81\xa7z\xd8\x9c\xe2\x80\x8f", "x?y?z??" },
                  { "\n\x7f\xe2\x80\xa8", "???" },
                  { "\xe2\x80", "\xe2\x80" } };
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(show_clean(cases[i].in, strlen(cases[i].in), text, sizeof text),
                         cases[i].out, "case %zu", i);
}

Test(show, json_is_exact)
{
    uint8_t buf[128];
    char *text = NULL;
    size_t len = 0;
    cleanup_mp struct mp_doc doc = { 0 };
    parse_sample(&doc, buf, sizeof buf);
    FILE *f = open_memstream(&text, &len);
    cr_expect(show_json(f, &doc.root));
    fclose(f);
    cr_expect_str_eq(text, "{\"a\":\"x\\u001B[2J\",\"b\":7,\"c\":true,\"d\":1.5,\"e\":\"AP8=\","
                           "\"f\":[null,-3]}\n");
    free(text);
}

Test(show, tables_align_by_what_a_terminal_shows)
{
    static const char *const titles[] = { "A", "BB" };
    char *text = NULL;
    size_t len = 0;
    struct show_table *t = show_table_create(titles, 2);
    show_table_cell(t, "\xc3\xa4\xc3\xb6\xc3\xbc"); /* three letters in six bytes */
    show_table_cell(t, "1");
    FILE *f = open_memstream(&text, &len);
    show_table_print(t, f);
    fclose(f);
    cr_expect_str_eq(text, "A    BB\n\xc3\xa4\xc3\xb6\xc3\xbc  1\n");
    show_table_destroy(t);
    free(text);
}
