#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log_internal.h"
#include "base/text_internal.h"

/* Text being built: units (a character or a whole escape) go in whole or not at all. */
struct text {
    char *buf;
    size_t len, cap; /* cap excludes what the line's end needs */
    bool is_full;
};

static void put(struct text *t, const char *unit, size_t n)
{
    if (t->is_full || t->cap - t->len < n) {
        t->is_full = true;
        return;
    }
    memcpy(t->buf + t->len, unit, n);
    t->len += n;
}

static void put_str(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

/* C0, DEL and C1 drive terminals; U+2028/9 end lines; U+061C, U+200E/F, U+202A-E, U+2066-9 reorder
 * text. */
static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x61c;
}

static void put_clean(struct text *t, const char *s)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s);
    while (left > 0 && !t->is_full) {
        char escape[16];
        uint32_t c = 0;
        size_t n = base__utf8_char(p, left, &c);
        if (n == 0) {
            put_str(t, "\xef\xbf\xbd");
            n = 1;
        } else if (is_unprintable(c)) {
            snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : "\\u{%x}", c);
            put_str(t, escape);
        } else {
            put(t, (const char *)p, n);
        }
        p += n;
        left -= n;
    }
}

static void put_json(struct text *t, const char *s)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s);
    while (left > 0 && !t->is_full) {
        char escape[16];
        uint32_t c = 0;
        size_t n = base__utf8_char(p, left, &c);
        if (n == 0) {
            put_str(t, "\xef\xbf\xbd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            put(t, (const char[]){ '\\', (char)c }, 2);
        } else if (is_unprintable(c)) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put_str(t, escape);
        } else {
            put(t, (const char *)p, n);
        }
        p += n;
        left -= n;
    }
}

/* ISO 8601 with milliseconds, UTC. A clock that reads nonsense still gives a line. */
static void put_time(struct text *t, int64_t wall_ms)
{
    char text[64];
    struct tm tm;
    int64_t ms = wall_ms % 1000;
    time_t s = (time_t)(wall_ms / 1000);
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    if (gmtime_r(&s, &tm) == NULL) {
        put_str(t, "0000-00-00T00:00:00.000Z");
        return;
    }
    snprintf(text, sizeof text, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ",
             (long long)tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
             tm.tm_sec, (int)ms);
    put_str(t, text);
}

static void render_text(struct text *t, const struct log_line *l)
{
    char level[16];
    put_time(t, l->wall_ms);
    snprintf(level, sizeof level, " %-5s ", log_level_name(l->level));
    put_str(t, level);
    if (l->object[0] != '\0') {
        put_clean(t, l->object);
        put_str(t, ": ");
    }
    put_clean(t, l->msg);
}

static void render_json(struct text *t, const struct log_line *l)
{
    put_str(t, "{\"time\":\"");
    put_time(t, l->wall_ms);
    put_str(t, "\",\"level\":\"");
    put_str(t, log_level_name(l->level));
    put_str(t, "\",\"object\":\"");
    put_json(t, l->object);
    put_str(t, "\",\"msg\":\"");
    put_json(t, l->msg);
}

size_t log__clean(char *out, size_t cap, const char *raw)
{
    struct text t = { .buf = out, .cap = cap - 1 };
    put_clean(&t, raw);
    out[t.len] = '\0';
    return t.len;
}

size_t log__render(char out[static LOG_LINE_MAX], enum log_format format,
                   const struct log_line *raw)
{
    static const char *const priority[] = { "<3>", "<4>", "<6>", "<7>" };
    const char *end = format == LOG_FORMAT_JSON ? "\"}\n" : "\n";
    size_t end_len = strlen(end);
    struct text t = { .buf = out, .cap = LOG_LINE_MAX - end_len };
    if (format == LOG_FORMAT_JOURNAL)
        put_str(&t, priority[raw->level]);
    if (format == LOG_FORMAT_JSON)
        render_json(&t, raw);
    else
        render_text(&t, raw);
    memcpy(out + t.len, end, end_len);
    return t.len + end_len;
}
