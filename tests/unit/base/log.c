#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_internal.h"

enum { OUT_MAX = 1 << 20, COPIES_MAX = 4000 };

/* A log with a clock of the test's and a pipe or file to read back from. */
struct fixture {
    int64_t now_ms;
    unsigned n_lines;
    struct {
        uint64_t seq;
        enum log_level level;
        char object[LOG_OBJECT_MAX], msg[LOG_LINE_MAX];
    } last;
    uint64_t seqs[COPIES_MAX];
};

static int64_t fixture_clock(void *arg)
{
    struct fixture *f = arg;
    return f->now_ms;
}

static void fixture_sink(void *arg, const struct log_line *line)
{
    struct fixture *f = arg;
    f->last.seq = line->seq;
    f->last.level = line->level;
    snprintf(f->last.object, sizeof f->last.object, "%s", line->object);
    snprintf(f->last.msg, sizeof f->last.msg, "%s", line->msg);
    cr_assert_lt(f->n_lines, COPIES_MAX);
    f->seqs[f->n_lines++] = line->seq;
}

static struct log *open_log(struct fixture *f, int fd, enum log_format format, size_t ring)
{
    const struct log_options o = { .level = LOG_LEVEL_DEBUG,
                                   .format = format,
                                   .fd = fd,
                                   .wall_ms = fixture_clock,
                                   .sink = fixture_sink,
                                   .arg = f,
                                   .ring_lines = ring };
    struct log *l = log_create(&o);
    cr_assert_not_null(l);
    return l;
}

static int temp_file(void)
{
    char path[] = "/tmp/cyx-log-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static const char *read_back(int fd)
{
    static char out[OUT_MAX];
    ssize_t n = pread(fd, out, sizeof out - 1, 0);
    cr_assert_geq(n, 0);
    out[n] = '\0';
    return out;
}

static struct fixture f; /* each test is a process of its own */

Test(log, text_lines_have_time_level_object_and_message)
{
    int fd = temp_file();
    struct log *l = open_log(&f, fd, LOG_FORMAT_TEXT, 0);
    f.now_ms = 1767323045678; /* 2026-01-02 */
    log_info(l, "link 12", "NEW -> UP (%s)", "handshake");
    log_error(l, NULL, "disk %d", 3);
    log_destroy(l);
    cr_expect_str_eq(read_back(fd),
                     "2026-01-02T03:04:05.678Z info  link 12: NEW -> UP (handshake)\n"
                     "2026-01-02T03:04:05.678Z error disk 3\n");
    close(fd);
}

Test(log, journal_lines_carry_their_priority)
{
    int fd = temp_file();
    struct log *l = open_log(&f, fd, LOG_FORMAT_JOURNAL, 0);
    log_error(l, "a", "x");
    log_warn(l, "a", "x");
    log_info(l, "a", "x");
    log_debug(l, "a", "x");
    log_destroy(l);
    const char *out = read_back(fd);
    cr_expect_eq(strncmp(out, "<3>1970-01-01T00:00:00.000Z error a: x\n<4>", 42), 0, "%s", out);
    cr_expect_not_null(strstr(out, "\n<6>"));
    cr_expect_not_null(strstr(out, "\n<7>"));
    close(fd);
}

/* One line for each byte value and some longer sequences, as jansson reads it. */
Test(log, json_lines_parse_whatever_bytes_the_message_has)
{
    char line[LOG_LINE_MAX];
    for (unsigned c = 1; c < 256; c++) {
        const char msg[] = { 'a', (char)c, 'b', '\0' };
        const struct log_line raw = { .level = LOG_LEVEL_WARN, .object = msg, .msg = msg };
        size_t n = log__render(line, LOG_FORMAT_JSON, &raw);
        cr_assert_eq(line[n - 1], '\n');
        cr_assert_null(memchr(line, '\n', n - 1), "byte 0x%02x", c);
        json_error_t why;
        json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
        cr_assert_not_null(j, "byte 0x%02x: %s", c, why.text);
        const char *want = c < 0x80 ? msg
                                    : "a\xef\xbf\xbd"
                                      "b";
        cr_expect_str_eq(json_string_value(json_object_get(j, "msg")), want);
        cr_expect_str_eq(json_string_value(json_object_get(j, "object")), want);
        cr_expect_str_eq(json_string_value(json_object_get(j, "level")), "warn");
        cr_expect_str_eq(json_string_value(json_object_get(j, "time")), "1970-01-01T00:00:00.000Z");
        json_decref(j);
    }
}

Test(log, json_lines_stay_whole_when_cut)
{
    static char msg[3 * LOG_LINE_MAX];
    static const char *const units[] = {
        "a", "\x01", "\"", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff"
    };
    char line[LOG_LINE_MAX];
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        for (size_t shift = 0; shift < 8; shift++) {
            size_t n = shift, len = strlen(units[u]);
            memset(msg, 'x', shift);
            for (; n + len < sizeof msg; n += len)
                memcpy(msg + n, units[u], len + 1);
            const struct log_line raw = { .object = "o", .msg = msg };
            n = log__render(line, LOG_FORMAT_JSON, &raw);
            cr_assert_leq(n, LOG_LINE_MAX);
            cr_assert_gt(n, LOG_LINE_MAX - 8, "cut, but not more than needed");
            json_t *j = json_loadb(line, n, 0, NULL);
            cr_expect_not_null(j, "unit %zu, shift %zu", u, shift);
            json_decref(j);
        }
    }
}

Test(log, text_lines_cannot_be_split_or_drive_a_terminal)
{
    char line[LOG_LINE_MAX];
    for (unsigned c = 1; c < 256; c++) {
        const char msg[] = { (char)c, '\0' };
        const struct log_line raw = { .object = msg, .msg = msg };
        size_t n = log__render(line, LOG_FORMAT_TEXT, &raw);
        for (size_t i = 0; i + 1 < n; i++)
            cr_assert((unsigned char)line[i] >= 0x20 && line[i] != 0x7f, "byte 0x%02x", c);
    }
}

static void expect_clean(const char *raw, const char *want)
{
    char out[256];
    size_t n = log__clean(out, sizeof out, raw);
    cr_expect_str_eq(out, want);
    cr_expect_eq(n, strlen(want));
}

Test(log, clean_text_shows_what_it_hides)
{
    expect_clean("plain \xc3\xa9 \xf0\x9f\x98\x80", "plain \xc3\xa9 \xf0\x9f\x98\x80");
    expect_clean("a\nb\r\t", "a\\x0ab\\x0d\\x09");
    expect_clean("\x1b[31m", "\\x1b[31m");
    expect_clean("\x7f", "\\x7f");
    expect_clean("\xc2\x9b"
                 "2J",
                 "\\x9b2J"); /* C1: CSI */
    expect_clean("\xe2\x80\xae"
                 "abc",
                 "\\u{202e}abc");              /* right-to-left override */
    expect_clean("\xd8\x9c", "\\u{61c}");      /* Arabic letter mark: turns what follows */
    expect_clean("\xe2\x80\xa8", "\\u{2028}"); /* line separator */
    expect_clean("a\xff\xc3", "a\xef\xbf\xbd\xef\xbf\xbd");
}

Test(log, clean_text_is_cut_between_characters)
{
    char out[6];
    cr_expect_eq(log__clean(out, sizeof out, "abc\xc3\xa9\xc3\xa9"), 5);
    cr_expect_str_eq(out, "abc\xc3\xa9");
    cr_expect_eq(log__clean(out, sizeof out, "abcd\xc3\xa9"), 4);
    cr_expect_eq(log__clean(out, sizeof out, "abc\x1b"), 3);
    cr_expect_str_eq(out, "abc");
}

Test(log, levels_are_filtered_and_can_change)
{
    struct log *l = open_log(&f, -1, LOG_FORMAT_TEXT, 0);
    log_set_level(l, LOG_LEVEL_WARN);
    cr_expect_eq(log_get_level(l), LOG_LEVEL_WARN);
    cr_expect(log_wants(l, LOG_LEVEL_ERROR) && log_wants(l, LOG_LEVEL_WARN));
    cr_expect_not(log_wants(l, LOG_LEVEL_INFO));
    log_info(l, "a", "no");
    log_debug(l, "a", "no");
    cr_expect_eq(f.n_lines, 0);
    log_warn(l, "a", "yes");
    cr_expect_eq(f.n_lines, 1);
    cr_expect_eq(f.last.seq, 1);
    log_destroy(l);
}

Test(log, null_is_a_log_that_nobody_reads)
{
    log_error(NULL, "a", "x");
    cr_expect_not(log_wants(NULL, LOG_LEVEL_ERROR));
    cr_expect_eq(log_suppressed(NULL), 0);
    cr_expect_eq(log_ring(NULL, 0, NULL, NULL), 0);
    log_set_level(NULL, LOG_LEVEL_INFO);
    log_destroy(NULL);
}

Test(log, a_budget_bounds_each_second_and_errors_always_pass)
{
    struct log *l = open_log(&f, -1, LOG_FORMAT_TEXT, 0);
    f.now_ms = 5000;
    for (unsigned i = 0; i < LOG_LINES_PER_SECOND + 50; i++)
        log_warn(l, "a", "%u", i);
    cr_expect_eq(f.n_lines, LOG_LINES_PER_SECOND);
    cr_expect_eq(log_suppressed(l), 50);
    f.now_ms = 5999;
    log_info(l, "a", "still the same second");
    cr_expect_eq(log_suppressed(l), 51);
    log_error(l, "a", "passes");
    cr_expect_str_eq(f.last.msg, "passes");
    f.now_ms = 6000;
    log_info(l, "a", "next second");
    cr_expect_eq(f.n_lines, LOG_LINES_PER_SECOND + 3);
    cr_expect_str_eq(f.last.msg, "next second");
    cr_expect_eq(log_suppressed(l), 51);
    for (unsigned i = 0; i < f.n_lines; i++)
        cr_expect_eq(f.seqs[i], i + 1, "without gaps");
    log_destroy(l);
}

static void note_line(void *arg, const struct log_line *line)
{
    if (strstr(line->msg, "lines suppressed") != NULL)
        snprintf(arg, 64, "%s: %s", line->object, line->msg);
}

Test(log, says_how_many_lines_it_left_out)
{
    char note[64] = "";
    struct log *l = open_log(&f, -1, LOG_FORMAT_TEXT, 16);
    for (unsigned i = 0; i < LOG_LINES_PER_SECOND + 7; i++)
        log_info(l, "a", "%u", i);
    f.now_ms = -5000; /* the clock jumps back: a new second like any other */
    log_info(l, "a", "after");
    log_ring(l, 0, note_line, note);
    cr_expect_str_eq(note, "log: 7 lines suppressed");
    for (unsigned i = 0; i < LOG_LINES_PER_SECOND; i++)
        log_info(l, "a", "%u", i);
    log_destroy(l);
    cr_expect_str_eq(f.last.msg, "1 lines suppressed", "also at the end");
}

struct ring_seen {
    struct log *l;
    uint64_t first, last;
    unsigned n;
    bool log_more;
};

static void see_line(void *arg, const struct log_line *line)
{
    struct ring_seen *s = arg;
    char want[32];
    if (s->n++ == 0)
        s->first = line->seq;
    else
        cr_assert_eq(line->seq, s->last + 1);
    s->last = line->seq;
    snprintf(want, sizeof want, "line %llu", (unsigned long long)line->seq);
    cr_assert_str_eq(line->msg, want);
    cr_assert_str_eq(line->object, "o");
    if (s->log_more)
        log_error(s->l, "o", "line %llu", (unsigned long long)f.last.seq + 1);
}

static struct ring_seen see_ring(struct log *l, uint64_t after, bool log_more)
{
    struct ring_seen s = { .l = l, .log_more = log_more };
    uint64_t want = f.last.seq;
    cr_expect_eq(log_ring(l, after, see_line, &s), want);
    return s;
}

Test(log, the_ring_keeps_the_last_lines_in_order)
{
    struct log *l = open_log(&f, -1, LOG_FORMAT_TEXT, 8);
    cr_expect_eq(see_ring(l, 0, false).n, 0);
    for (unsigned i = 1; i <= 5; i++)
        log_error(l, "o", "line %u", i);
    struct ring_seen s = see_ring(l, 0, false);
    cr_expect(s.first == 1 && s.n == 5);
    for (unsigned i = 6; i <= 21; i++)
        log_error(l, "o", "line %u", i);
    s = see_ring(l, 0, false);
    cr_expect(s.first == 14 && s.n == 8, "from %lu, %u lines", s.first, s.n);
    s = see_ring(l, 20, false);
    cr_expect(s.first == 21 && s.n == 1);
    cr_expect_eq(see_ring(l, 21, false).n, 0);
    cr_expect_eq(see_ring(l, 1000, false).n, 0);
    cr_expect_eq(see_ring(l, UINT64_MAX, false).n, 0);
    log_destroy(l);
}

Test(log, reading_the_ring_may_log)
{
    struct log *l = open_log(&f, -1, LOG_FORMAT_TEXT, 8);
    for (unsigned i = 1; i <= 8; i++)
        log_error(l, "o", "line %u", i);
    struct ring_seen s = { .l = l, .log_more = true };
    cr_expect_eq(log_ring(l, 0, see_line, &s), 8, "lines written meanwhile wait for the next call");
    cr_expect_eq(s.n, 8);
    log_destroy(l);
}

Test(log, a_full_pipe_costs_lines_but_never_waits)
{
    int fds[2];
    char out[4096];
    cr_assert_eq(pipe(fds), 0); /* blocking on purpose, as standard error may be */
    struct log *l = open_log(&f, fds[1], LOG_FORMAT_TEXT, 0);
    while (log_suppressed(l) == 0)
        log_error(l, "a", "%0900d", 1);
    uint64_t lost = log_suppressed(l);
    log_error(l, "a", "lost too");
    cr_expect_eq(log_suppressed(l), lost + 1);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    while (read(fds[0], out, sizeof out) > 0)
        ;
    f.now_ms += 1000;
    log_error(l, "a", "back");
    ssize_t n = read(fds[0], out, sizeof out - 1);
    cr_assert_gt(n, 0);
    out[n] = '\0';
    cr_expect_not_null(strstr(out, "warn  log: 2 lines suppressed\n"), "%s", out);
    cr_expect_not_null(strstr(out, "error a: back\n"));
    log_destroy(l);
    close(fds[0]);
    close(fds[1]);
}

Test(log, a_bad_descriptor_is_survived)
{
    int fd = temp_file();
    close(fd);
    struct log *l = open_log(&f, fd, LOG_FORMAT_TEXT, 4);
    log_error(l, "a", "x");
    cr_expect_eq(log_suppressed(l), 1);
    cr_expect_str_eq(f.last.msg, "x", "ring and sink still have it");
    log_destroy(l);
}

static void *write_lines(void *arg)
{
    for (unsigned i = 0; i < 500; i++)
        log_error(arg, "thread", "line %u of a thread", i);
    return NULL;
}

Test(log, threads_do_not_mix_their_lines)
{
    int fd = temp_file();
    pthread_t threads[4];
    struct log *l = open_log(&f, fd, LOG_FORMAT_TEXT, 64);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, l), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_destroy(l);
    unsigned n = 0;
    for (const char *p = read_back(fd), *end; (end = strchr(p, '\n')) != NULL; p = end + 1, n++)
        cr_assert_eq(strncmp(p, "1970-01-01T00:00:00.000Z error thread: line ", 44), 0);
    cr_expect_eq(n, 2000);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(f.seqs[i], i + 1);
    close(fd);
}

Test(log, times_outside_any_calendar_still_give_a_line)
{
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {
        { -1, "1969-12-31T23:59:59.999Z" },
        { 253402300800000, "10000-01-01T00:00:00.000Z" },
        { INT64_MAX, NULL },
        { INT64_MIN, NULL },
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char line[LOG_LINE_MAX];
        const struct log_line raw = { .wall_ms = times[i].ms, .object = "", .msg = "m" };
        size_t n = log__render(line, LOG_FORMAT_TEXT, &raw);
        cr_assert_gt(n, 10);
        if (times[i].text != NULL)
            cr_expect_eq(strncmp(line, times[i].text, strlen(times[i].text)), 0, "%.*s", (int)n,
                         line);
    }
}

Test(log, level_words_are_each_other_s_inverse)
{
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        enum log_level level = LOG_LEVEL_ERROR;
        cr_expect_eq(log_level_parse(log_level_name((enum log_level)i), &level), 0);
        cr_expect_eq((int)level, i);
    }
    enum log_level level = LOG_LEVEL_INFO;
    cr_expect_lt(log_level_parse("Info", &level), 0);
    cr_expect_lt(log_level_parse("", &level), 0);
    cr_expect_eq(level, LOG_LEVEL_INFO);
}
