#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/conf_internal.h"

static int check_even(const char *value, struct cyx_err *err)
{
    size_t n = strlen(value);
    return n % 2 == 0 ? 0 : cyx_fail(err, CYX_EINVAL, "\"%s\" has an odd length", value);
}

static const struct conf_item top[] = {
    { .table = "", .key = "name", .type = CONF_STRING, .max = 8, .def = "\"anon\"" },
    { .table = "", .key = "strict", .type = CONF_BOOL, .def = "false" },
    { .key = NULL },
};
static const struct conf_item mesh[] = {
    { .table = "mesh",
      .key = "listen",
      .type = CONF_STRINGS,
      .min = 1,
      .max = 3,
      .def = "[\"0.0.0.0:4100\"]",
      .help = "where to listen" },
    { .table = "mesh", .key = "port", .type = CONF_INT, .min = 1, .max = 65535, .def = "4100" },
    { .table = "mesh", .key = "delta", .type = CONF_INT, .min = -5, .max = 5, .def = "-1" },
    { .table = "mesh", .key = "any", .type = CONF_INT, .def = "0" },
    { .table = "mesh",
      .key = "store",
      .type = CONF_SIZE,
      .min = 1024,
      .max = 1ll << 40,
      .def = "\"64MiB\"" },
    { .table = "mesh",
      .key = "idle",
      .type = CONF_DURATION,
      .min = 1000,
      .max = 86400000,
      .def = "\"3m\"" },
    { .table = "mesh.lan", .key = "beacon", .type = CONF_BOOL, .def = "true" },
    { .key = NULL },
};
static const struct conf_item logs[] = {
    { .table = "log",
      .key = "level",
      .type = CONF_STRING,
      .words = "error warn info debug",
      .def = "\"info\"" },
    { .table = "log", .key = "parts", .type = CONF_STRINGS, .words = "mesh dht", .def = "[]" },
    { .table = "log", .key = "even", .type = CONF_STRING, .check = check_even, .def = "\"odd\"" },
    { .table = "log", .key = "evens", .type = CONF_STRINGS, .check = check_even, .def = "[]" },
    { .key = NULL },
};
static const struct conf_item needed[] = {
    { .table = "host", .key = "key", .type = CONF_STRING, .min = 1, .max = 99 },
    { .key = NULL },
};
static const struct conf_item *const schemas[] = { top, mesh, logs };

/* All complaints of one parse, each on a line: "12: text". */
static char complaints[8192];
static unsigned n_complaints;

static void complain(void *arg, const char *file, unsigned line, const char *text)
{
    size_t at = strlen(complaints);
    cr_assert_str_eq(arg, "arg");
    cr_assert_str_eq(file, "t.toml");
    snprintf(complaints + at, sizeof complaints - at, "%u: %s\n", line, text);
    n_complaints++;
}

static struct conf *parse_bytes(const char *text, size_t len, struct cyx_err *err)
{
    static char arg[] = "arg";
    char *copy = malloc(len > 0 ? len : 1); /* exact size: no byte behind it may be read */
    memcpy(copy, text, len);
    complaints[0] = '\0';
    n_complaints = 0;
    struct conf *c = conf_parse("t.toml", copy, len, schemas, 3, complain, arg, err);
    free(copy);
    return c;
}

static struct conf *parse(const char *text)
{
    struct cyx_err err = { 0 };
    struct conf *c = parse_bytes(text, strlen(text), &err);
    cr_assert_not_null(c, "%s", err.msg);
    cr_expect_eq(n_complaints, 0, "%s", complaints);
    return c;
}

/* Refused with exactly these complaints. */
static void refuse(const char *text, const char *want)
{
    struct cyx_err err = { 0 };
    struct conf *c = parse_bytes(text, strlen(text), &err);
    cr_expect_null(c, "%s", text);
    cr_expect_str_eq(complaints, want);
    cr_expect_eq(err.code, CYX_EINVAL);
    conf_destroy(c);
}

Test(conf, an_empty_file_gives_every_default)
{
    const char *const *list;
    struct conf *c = parse("");
    cr_expect_str_eq(conf_str(c, "", "name"), "anon");
    cr_expect_not(conf_bool(c, "", "strict"));
    cr_expect_eq(conf_strs(c, "mesh", "listen", &list), 1);
    cr_expect_str_eq(list[0], "0.0.0.0:4100");
    cr_expect_eq(conf_int(c, "mesh", "port"), 4100);
    cr_expect_eq(conf_int(c, "mesh", "delta"), -1);
    cr_expect_eq(conf_int(c, "mesh", "store"), 64 << 20);
    cr_expect_eq(conf_int(c, "mesh", "idle"), 180000);
    cr_expect(conf_bool(c, "mesh.lan", "beacon"));
    cr_expect_str_eq(conf_str(c, "log", "even"), "odd", "defaults are not checked further");
    cr_expect_eq(conf_strs(c, "log", "parts", &list), 0);
    cr_expect_not_null(list);
    cr_expect_eq(conf_line(c, "mesh", "port"), 0);
    conf_destroy(c);
    conf_destroy(NULL);
}

Test(conf, reads_every_kind_of_value_and_its_line)
{
    const char *const *list;
    struct conf *c = parse("# comment with \xc3\xa9\n"
                           "name = 'a\\b'  # literal\r\n"
                           "\tstrict\t=\ttrue\n"
                           "\n"
                           "[mesh] # header\n"
                           "listen = [ # one\n"
                           "  \"[::]:1\",\n"
                           "\n"
                           "  'x', # two\n"
                           "]\n"
                           "port = 6_5_5\n"
                           "delta = +3\n"
                           "any = -9_223_372_036_854_775_808\n"
                           "store = \"1GiB\"\n"
                           "idle = \"1500ms\"\n"
                           "[ mesh.lan ]\n"
                           "beacon=false\n"
                           "[log]\n"
                           "level=\"debug\"\n"
                           "parts=[\"dht\",\"mesh\"]");
    cr_expect_str_eq(conf_str(c, "", "name"), "a\\b");
    cr_expect(conf_bool(c, "", "strict"));
    cr_assert_eq(conf_strs(c, "mesh", "listen", &list), 2);
    cr_expect_str_eq(list[0], "[::]:1");
    cr_expect_str_eq(list[1], "x");
    cr_expect_eq(conf_int(c, "mesh", "port"), 655);
    cr_expect_eq(conf_int(c, "mesh", "delta"), 3);
    cr_expect_eq(conf_int(c, "mesh", "any"), INT64_MIN);
    cr_expect_eq(conf_int(c, "mesh", "store"), 1 << 30);
    cr_expect_eq(conf_int(c, "mesh", "idle"), 1500);
    cr_expect_not(conf_bool(c, "mesh.lan", "beacon"));
    cr_assert_eq(conf_strs(c, "log", "parts", &list), 2);
    cr_expect_eq(conf_line(c, "", "name"), 2);
    cr_expect_eq(conf_line(c, "mesh", "listen"), 6);
    cr_expect_eq(conf_line(c, "mesh", "port"), 11);
    cr_expect_eq(conf_line(c, "log", "parts"), 20);
    conf_destroy(c);
}

Test(conf, basic_strings_have_five_escapes)
{
    struct conf *c = parse("[log]\neven = \"\\\\ \\\" \\n \\t \\u00e9\\u20AC\\u0041\"");
    cr_expect_str_eq(conf_str(c, "log", "even"), "\\ \" \n \t \xc3\xa9\xe2\x82\xac"
                                                 "A");
    conf_destroy(c);
    static const char *const bad[] = { "\\x41",   "\\u004",  "\\u00g0", "\\u0000",
                                       "\\ud800", "\\udfff", "\\r",     "\\U00000041",
                                       "\\u",     "\\u 041", "\\u+041" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "name = \"%s\"", bad[i]);
        refuse(text, "1: name: unknown escape in a string, want \\\\ \\\" \\n \\t or \\uXXXX (or "
                     "'single quotes', which have none)\n");
    }
}

Test(conf, an_unknown_key_names_the_nearest)
{
    refuse("[mesh]\nlistn = []", "2: mesh.listn: unknown key, did you mean \"listen\"?\n");
    refuse("nmae = 'x'", "1: nmae: unknown key, did you mean \"name\"?\n");
    refuse("[mesh]\nlevel = 'x'", "2: mesh.level: unknown key here, it belongs under [log]\n");
    refuse("[log]\nstrict = true",
           "2: log.strict: unknown key here, it belongs above the first [table]\n");
    refuse("frobnicate = 1", "1: frobnicate: unknown key\n");
}

Test(conf, the_first_complaint_is_in_err_with_file_and_line)
{
    struct cyx_err err = { 0 };
    static const char text[] = "[mesh]\nlistn = []\nport = 0\n";
    cr_assert_null(parse_bytes(text, sizeof text - 1, &err));
    cr_expect_str_eq(err.msg, "t.toml:2: mesh.listn: unknown key, did you mean \"listen\"?");
    cr_expect_eq(n_complaints, 2);
}

Test(conf, an_unknown_table_is_reported_once)
{
    refuse("[mehs]\nlisten = 1\nx = 2", "1: [mehs]: unknown table, did you mean [mesh]?\n");
    refuse("[zzzzzz]", "1: [zzzzzz]: unknown table\n");
}

Test(conf, duplicates_are_refused)
{
    refuse("[mesh]\nport = 1\nport = 2", "3: mesh.port: set twice, first on line 2\n");
    refuse("[mesh]\n[log]\n[mesh]\nport = 0",
           "3: [mesh]: this table stands on line 1 already\n"
           "4: mesh.port: 0 is out of range, want an integer from 1 to 65535\n");
}

Test(conf, a_wrong_type_names_what_is_allowed)
{
    refuse("strict = 1", "1: strict: is an integer, want true or false\n");
    refuse("[mesh]\nport = \"80\"", "2: mesh.port: is a string, want an integer from 1 to 65535\n");
    refuse("[mesh]\nany = true", "2: mesh.any: is a boolean, want an integer\n");
    refuse("name = []", "1: name: is an array, want a string of 0 to 8 bytes\n");
    refuse("[mesh]\nlisten = \"a\"",
           "2: mesh.listen: is a string, want an array of 1 to 3 strings\n");
    refuse("[mesh]\nlisten = [1]",
           "2: mesh.listen: is an array of integers, want an array of 1 to 3 strings\n");
    refuse("[mesh]\nidle = 30", "2: mesh.idle: is an integer, want a duration such as \"30s\" from "
                                "1s to 1d\n");
    refuse("[mesh]\nstore = \"5MB\"",
           "2: mesh.store: \"5MB\" is no number with KiB, MiB, GiB or TiB, want a size such as "
           "\"16MiB\" from 1KiB to 1TiB\n");
}

Test(conf, bounds_are_inclusive)
{
    conf_destroy(parse("name = \"12345678\"\n[mesh]\nport = 65535\nstore = 1024\nidle = \"1d\""));
    conf_destroy(parse("name = \"\"\n[mesh]\nport = 1\nstore = \"1024GiB\"\nidle = \"1s\"\n"
                       "listen = ['', '', '']"));
    refuse("name = \"123456789\"", "1: name: has 9 bytes, want a string of 0 to 8 bytes\n");
    refuse("[mesh]\nport = 65536",
           "2: mesh.port: 65536 is out of range, want an integer from 1 to 65535\n");
    refuse("[mesh]\ndelta = -6",
           "2: mesh.delta: -6 is out of range, want an integer from -5 to 5\n");
    refuse("[mesh]\nstore = 1023", "2: mesh.store: 1023 is out of range, want a size such as "
                                   "\"16MiB\" from 1KiB to 1TiB\n");
    refuse("[mesh]\nidle = \"25h\"",
           "2: mesh.idle: \"25h\" is out of range, want a duration such as "
           "\"30s\" from 1s to 1d\n");
    refuse("[mesh]\nlisten = []",
           "2: mesh.listen: has 0 strings, want an array of 1 to 3 strings\n");
}

Test(conf, words_and_further_checks_are_held)
{
    refuse("[log]\nlevel = \"inof\"", "2: log.level: \"inof\" is not allowed, want one of "
                                      "\"error\", \"warn\", \"info\", \"debug\"\n");
    refuse("[log]\nlevel = \"\"", "2: log.level: \"\" is not allowed, want one of "
                                  "\"error\", \"warn\", \"info\", \"debug\"\n");
    refuse("[log]\nlevel = \"error warn\"",
           "2: log.level: \"error warn\" is not allowed, want one of "
           "\"error\", \"warn\", \"info\", \"debug\"\n");
    refuse(
        "[log]\nparts = [\"mesh\", \"x\"]",
        "2: log.parts: \"x\" is not allowed, want an array of strings out of \"mesh\", \"dht\"\n");
    refuse("[log]\neven = \"odd\"", "2: log.even: \"odd\" has an odd length\n");
    refuse("[log]\nevens = [\"ab\", \"c\"]", "2: log.evens: \"c\" has an odd length\n");
}

Test(conf, what_a_file_prints_cannot_drive_a_terminal)
{
    refuse("[log]\nlevel = \"\\u001b[2J\\n\"",
           "2: log.level: \"\\x1b[2J\\x0a\" is not allowed, want one of "
           "\"error\", \"warn\", \"info\", \"debug\"\n");
}

static const struct {
    const char *value, *why;
} not_values[] = {
    { "1.5", "floats are not supported" },
    { "1e5", "a number with a unit stands in \"quotes\"" },
    { "inf", "floats are not supported" },
    { "-nan", "floats are not supported" },
    { "2026-01-02", "dates and times are not supported: write a string" },
    { "07:30:00", "dates and times are not supported: write a string" },
    { "0x10", "want a decimal integer" },
    { "30s", "a number with a unit stands in \"quotes\"" },
    { "007", "not an integer: no leading zeros, _ only between digits, 64 bits at most" },
    { "1__0", "not an integer: no leading zeros, _ only between digits, 64 bits at most" },
    { "1_", "not an integer: no leading zeros, _ only between digits, 64 bits at most" },
    { "9223372036854775808",
      "not an integer: no leading zeros, _ only between digits, 64 bits at most" },
    { "-9223372036854775809",
      "not an integer: no leading zeros, _ only between digits, 64 bits at most" },
    { "True", "unknown word: strings stand in \"quotes\"" },
    { "_1", "unknown word: strings stand in \"quotes\"" },
    { "+", "unknown word: strings stand in \"quotes\"" },
    { "{ a = 1 }", "inline tables are not supported: write [a table] of its own" },
    { "\"\"\"x\"\"\"", "multi-line strings are not supported: write \\n" },
    { "'''x'''", "multi-line strings are not supported: write \\n" },
    { "\"x", "the string has no closing quote on its line" },
    { "\"x\\\"", "the string has no closing quote on its line" },
    { "\"x\\", "the string has no closing quote on its line" },
    { "'x", "the string has no closing quote on its line" },
    { "\"\x01\"", "control character in a string: write \\uXXXX" },
    { "\"\x7f\"", "control character in a string: write \\uXXXX" },
    { "'\x7f'", "control character in a string: write \\uXXXX" },
    { "", "want a value: a string, an integer, true, false or an array" },
    { "[1, \"a\"]", "strings and integers mixed in one array" },
    { "[[1]]", "arrays inside arrays are not supported" },
    { "[true]", "arrays hold strings or integers" },
    { "[1 2]", "want , or ] behind an array's value" },
    { "[1", "want , or ] behind an array's value" },
    { "[1,", "the array has no closing ]" },
    { "[,]", "want a value: a string, an integer, true, false or an array" },
};

Test(conf, what_is_no_value_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof not_values / sizeof not_values[0]; i++) {
        char text[128], want[256];
        snprintf(text, sizeof text, "[mesh]\nany = %s", not_values[i].value);
        snprintf(want, sizeof want, "2: mesh.any: %s\n", not_values[i].why);
        refuse(text, want);
    }
}

Test(conf, lines_that_are_no_lines_are_refused_by_name)
{
    refuse("[[mesh]]\nx = 1", "1: arrays of tables are not supported: write [one table]\n");
    refuse("mesh.port = 1",
           "1: mesh: dotted keys are not supported: write the key under its [table]\n");
    refuse("\"name\" = 'x'", "1: quoted keys are not supported\n");
    refuse("name", "1: name: want = behind the key\n");
    refuse("= 1", "1: want a key of letters, digits, - and _\n");
    refuse("[mesh", "1: [mesh: want ] behind the table's name\n");
    refuse("[]", "1: want a table's name of letters, digits, - and _\n");
    refuse("[mesh.]", "1: want a table's name of letters, digits, - and _\n");
    refuse("[.mesh]", "1: want a table's name of letters, digits, - and _\n");
    refuse("[mesh] x", "1: more text than expected at the end of the line\n");
    refuse("strict = true false", "1: more text than expected at the end of the line\n");
    refuse("strict = true\rname = 'x'", "1: more text than expected at the end of the line\n");
    refuse("# \x02", "1: control character 0x02 in a comment\n");
    refuse("\xc3\xa9 = 1", "1: want a key of letters, digits, - and _\n");
}

Test(conf, goes_on_behind_each_wrong_line)
{
    refuse("name = \n[mesh]\nport = 0\nlisten = [\n 1\n 2\n]\nidle = \"1s\"\nx = 1",
           "1: name: want a value: a string, an integer, true, false or an array\n"
           "6: mesh.listen: want , or ] behind an array's value\n"
           "7: want a key of letters, digits, - and _\n"
           "3: mesh.port: 0 is out of range, want an integer from 1 to 65535\n"
           "9: mesh.x: unknown key\n");
}

Test(conf, reports_no_more_than_its_maximum)
{
    char text[4096] = "";
    for (unsigned i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "k%u = 1\n", i);
    cr_assert_null(parse_bytes(text, strlen(text), NULL));
    cr_expect_eq(n_complaints, CONF_ERRORS_MAX);
}

Test(conf, bytes_that_are_no_text_are_refused_with_their_line)
{
    struct cyx_err err = { 0 };
    cr_assert_null(parse_bytes("a = 1\n\0", 7, &err));
    cr_expect_str_eq(err.msg, "t.toml:2: byte 0x00 (NUL)");
    refuse("\n\nname = '\xff'", "3: byte 0xff is not UTF-8\n");
    refuse("# \xc3", "1: byte 0xc3 is not UTF-8\n");
}

Test(conf, files_and_names_and_arrays_are_bounded)
{
    struct cyx_err err = { 0 };
    static char text[CONF_FILE_MAX + 1];
    memset(text, '\n', sizeof text);
    conf_destroy(parse_bytes(text, CONF_FILE_MAX, &err));
    cr_expect_eq(n_complaints, 0);
    cr_expect_null(parse_bytes(text, CONF_FILE_MAX + 1, &err));
    cr_expect_str_eq(err.msg, "t.toml: longer than 1048576 bytes");
    memset(text, 'a', sizeof text);
    cr_expect_null(parse_bytes(text, CONF_FILE_MAX, &err));
    cr_expect_str_eq(err.msg, "t.toml:1: a key of more than 64 bytes");
    memcpy(text, "[mesh]\nany = [", 14);
    for (unsigned i = 0; i < CONF_ARRAY_MAX + 1; i++)
        memcpy(text + 14 + 2 * i, "1,", 2);
    cr_expect_null(parse_bytes(text, 14 + 2 * (CONF_ARRAY_MAX + 1), &err));
    cr_expect_str_eq(err.msg, "t.toml:2: mesh.any: more than 4096 values in one array");
    size_t n = 0;
    for (unsigned i = 0; i < CONF_KEYS_MAX + 1; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "k%u=1\n", i);
    cr_expect_null(parse_bytes(text, n, &err));
    cr_expect_not_null(strstr(err.msg, "more than 4096 keys or tables in one file"), "%s", err.msg);
}

Test(conf, a_missing_required_key_is_named_unless_a_line_could_not_be_read)
{
    const struct conf_item *const two[] = { mesh, needed };
    struct cyx_err err = { 0 };
    cr_expect_null(conf_parse("t.toml", "", 0, two, 2, NULL, NULL, &err));
    cr_expect_str_eq(err.msg, "t.toml: host.key: missing, want a string of 1 to 99 bytes");
    static const char bad[] = "[host]\nkey = 1x";
    static char arg[] = "arg";
    complaints[0] = '\0';
    cr_expect_null(conf_parse("t.toml", bad, sizeof bad - 1, two, 2, complain, arg, &err));
    cr_expect_null(strstr(complaints, "missing"), "%s", complaints);
    static const char good[] = "[host]\nkey = 'x'";
    struct conf *c = conf_parse("t.toml", good, sizeof good - 1, two, 2, NULL, NULL, &err);
    cr_assert_not_null(c);
    cr_expect_str_eq(conf_str(c, "host", "key"), "x");
    conf_destroy(c);
}

Test(conf, a_wrong_schema_is_a_complaint_not_a_crash)
{
    static const struct conf_item wrong[] = {
        { .table = "x", .key = "a", .type = CONF_INT, .min = 1, .max = 2, .def = "3" },
        { .table = "x", .key = "b", .type = CONF_INT, .def = "[" },
        { .key = NULL },
    };
    const struct conf_item *const one[] = { wrong }, *const twice[] = { mesh, mesh };
    struct cyx_err err = { 0 };
    cr_expect_null(conf_parse("t.toml", "", 0, one, 1, NULL, NULL, &err));
    cr_expect_str_eq(err.msg, "t.toml: x.a: 3 is out of range, want an integer from 1 to 2");
    cr_expect_null(conf_parse("t.toml", "", 0, twice, 2, NULL, NULL, &err));
    cr_expect_str_eq(err.msg, "t.toml: mesh.listen: two schemas declare this key");
}

Test(conf, load_tells_a_missing_file_from_an_unreadable_one)
{
    struct cyx_err err = { 0 };
    cr_expect_null(conf_load("/nonexistent/t.toml", schemas, 3, NULL, NULL, &err));
    cr_expect_eq(err.code, CYX_ENOENT);
    cr_expect_str_eq(err.msg, "open /nonexistent/t.toml: No such file or directory");
    cr_expect_null(conf_load("/tmp", schemas, 3, NULL, NULL, &err));
    cr_expect_eq(err.code, CYX_EIO);
    cr_expect_str_eq(err.msg, "read /tmp: Is a directory");
}

Test(conf, load_reads_a_file_and_refuses_one_that_is_too_long)
{
    char path[] = "/tmp/cyx-conf-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "name = 'f'\n", 11), 11);
    struct conf *c = conf_load(path, schemas, 3, NULL, NULL, NULL);
    cr_assert_not_null(c);
    cr_expect_str_eq(conf_str(c, "", "name"), "f");
    conf_destroy(c);
    struct cyx_err err = { 0 };
    cr_assert_eq(ftruncate(fd, CONF_FILE_MAX + 1), 0);
    cr_expect_null(conf_load(path, schemas, 3, NULL, NULL, &err));
    cr_expect_not_null(strstr(err.msg, "longer than"), "%s", err.msg);
    close(fd);
    unlink(path);
}

struct text {
    char buf[8192];
    size_t n;
};

static void collect(void *arg, const char *text)
{
    struct text *t = arg;
    cr_assert_lt(t->n + strlen(text), sizeof t->buf);
    memcpy(t->buf + t->n, text, strlen(text) + 1);
    t->n += strlen(text);
}

Test(conf, the_printed_schema_is_a_file_that_means_the_defaults)
{
    static struct text printed, live;
    struct conf *c;
    conf_print_schema(collect, &printed, schemas, 3);
    cr_expect_not_null(
        strstr(printed.buf, "[mesh]\n\n# where to listen\n# an array of 1 to 3 strings; default:\n"
                            "#listen = [\"0.0.0.0:4100\"]\n"));
    conf_destroy(parse(printed.buf));
    /* Take the # away from every key: still the same values. */
    for (const char *p = printed.buf; *p != '\0'; p++) {
        bool is_key = *p == '#' && (p == printed.buf || p[-1] == '\n') && p[1] != ' ';
        char one[2] = { *p, '\0' };
        if (!is_key)
            collect(&live, one);
    }
    char *odd = strstr(live.buf, "\"odd\""); /* the default that its own check refuses */
    cr_assert_not_null(odd);
    memcpy(odd, "\"eve\"", 5);
    struct cyx_err err = { 0 };
    cr_expect_null(parse_bytes(live.buf, live.n, &err));
    memcpy(odd, "\"ev\" ", 5);
    c = parse(live.buf);
    cr_expect_eq(conf_int(c, "mesh", "idle"), 180000);
    cr_expect_neq(conf_line(c, "mesh", "idle"), 0);
    conf_destroy(c);
}

Test(conf, units_are_exact)
{
    int64_t v = 0;
    char out[32];
    cr_expect(conf__size("8TiB", &v) && v == 8ll << 40);
    cr_expect_not(conf__size("8388608TiB", &v), "2^63");
    cr_expect_not(conf__size("99999999999999999999KiB", &v));
    cr_expect_not(conf__size("1", &v) || conf__size("KiB", &v) || conf__size("-1KiB", &v) ||
                  conf__size("1 KiB", &v) || conf__size("1kib", &v) || conf__size("01KiB", &v) ||
                  conf__size("", &v));
    cr_expect(conf__duration("0s", &v) && v == 0);
    cr_expect(conf__duration("7d", &v) && v == 7 * 86400000ll);
    cr_expect_not(conf__duration("1h30m", &v) || conf__duration("1w", &v));
    conf__size_text(65536, out);
    cr_expect_str_eq(out, "64KiB");
    conf__size_text(1000, out);
    cr_expect_str_eq(out, "1000");
    conf__duration_text(90000, out);
    cr_expect_str_eq(out, "90s");
    conf__duration_text(0, out);
    cr_expect_str_eq(out, "0s");
}
