#include "node/http.h"

#include <string.h>
#include <strings.h>

#include "base/reader.h"

struct span {
    const char *p;
    size_t n;
};

/* Methods and field names. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

static bool equals(struct span s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static bool equals_nocase(struct span s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

/* The next line, without its CRLF. A bare CR or LF is a fault: two parsers that see other line ends
 * than each other see other requests. */
static bool next_line(struct reader *r, struct span *out)
{
    const uint8_t *start = r->p;
    size_t left = reader_left(r);
    const uint8_t *cr = memchr(start, '\r', left);
    if (cr == NULL || (size_t)(cr - start) + 2 > left || cr[1] != '\n')
        return false;
    size_t n = (size_t)(cr - start);
    if (memchr(start, '\n', n) != NULL || memchr(start, '\0', n) != NULL)
        return false;
    *out = (struct span){ (const char *)reader_bytes(r, n + 2), n };
    return true;
}

/* ---- request line ---------------------------------------------------------------------------- */

/* The part before the next space, or all of it; moves behind it. */
static struct span word(struct span *line)
{
    const char *space = memchr(line->p, ' ', line->n);
    size_t n = space != NULL ? (size_t)(space - line->p) : line->n;
    struct span w = { line->p, n };
    size_t skip = space != NULL ? n + 1 : n;
    line->p += skip;
    line->n -= skip;
    return w;
}

static int request_line(struct http_request *out, struct span line)
{
    struct span method = word(&line), target = word(&line), version = line;
    if (!is_token(method) || target.n == 0)
        return 400;
    if (target.n >= HTTP_TARGET_MAX)
        return 414;
    if (target.p[0] != '/')
        return 400;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f)
            return 400;
    if (!equals(version, "HTTP/1.1") && !equals(version, "HTTP/1.0"))
        return version.n == 8 && memcmp(version.p, "HTTP/", 5) == 0 ? 505 : 400;
    out->is_get = equals(method, "GET");
    out->is_head = equals(method, "HEAD");
    memcpy(out->target, target.p, target.n);
    out->target[target.n] = '\0';
    return 0;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* Host is this machine: localhost, 127.x.y.z or [::1], with or without a port. */
static bool is_local_host(struct span host)
{
    const char *colon = memchr(host.p, ':', host.n);
    struct span name = host;
    if (host.n > 0 && host.p[0] == '[') {
        static const char v6[] = "[::1]";
        return host.n >= 5 && memcmp(host.p, v6, 5) == 0 && (host.n == 5 || host.p[5] == ':');
    }
    if (colon != NULL)
        name.n = (size_t)(colon - host.p);
    if (equals_nocase(name, "localhost"))
        return true;
    if (name.n < 4 || memcmp(name.p, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] != '.' && (name.p[i] < '0' || name.p[i] > '9'))
            return false;
    return true;
}

struct fields {
    unsigned n, n_hosts, n_lengths;
};

static int field_value(struct fields *f, struct span name, struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return 400;
    if (equals_nocase(name, "host")) {
        if (++f->n_hosts > 1)
            return 400;
        return is_local_host(value) ? 0 : 403;
    }
    if (equals_nocase(name, "transfer-encoding"))
        return 501;
    if (equals_nocase(name, "content-length")) {
        if (++f->n_lengths > 1)
            return 400;
        return equals(value, "0") ? 0 : 413;
    }
    return 0;
}

static int field(struct fields *f, struct span line)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (++f->n > HTTP_FIELDS_MAX)
        return 431;
    if (colon == NULL)
        return 400;
    struct span name = { line.p, (size_t)(colon - line.p) };
    struct span value = { colon + 1, line.n - name.n - 1 };
    while (value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t')) {
        value.p++;
        value.n--;
    }
    while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
        value.n--;
    return is_token(name) ? field_value(f, name, value) : 400;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Length of the head with its empty line, or 0 when that has not come. */
static size_t head_length(const uint8_t *data, size_t len)
{
    const uint8_t *end = len >= 4 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    return end != NULL ? (size_t)(end - data) + 4 : 0;
}

int http_parse(struct http_request *out, const uint8_t *data, size_t len, size_t *used)
{
    struct http_request rq = { .is_get = false };
    struct fields f = { 0 };
    struct span line;
    size_t head = head_length(data, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
    if (head == 0)
        return len >= HTTP_HEAD_MAX ? 431 : 0;
    struct reader r = reader_on(data, head);
    if (!next_line(&r, &line))
        return 400;
    int status = request_line(&rq, line);
    while (status == 0) {
        if (!next_line(&r, &line))
            return 400;
        if (line.n == 0)
            break;
        status = field(&f, line);
    }
    if (status != 0)
        return status;
    if (!reader_done(&r) || f.n_hosts != 1)
        return 400;
    if (!rq.is_get && !rq.is_head)
        return 405;
    *out = rq;
    *used = head;
    return 200;
}
