/* cyx dht get, put, announce: records. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/cyx/dht.h"

enum { RECORD_MAX = 8192 };

/* ---- get ------------------------------------------------------------------------------------- */

static void show_text(const msgpack_object *fields, const char *key)
{
    char text[CYX_CELL];
    cyx_line(key, show_str(fields, key, text, sizeof text));
}

static void show_size(const msgpack_object *fields, const char *key)
{
    char line[CYX_CELL], short_form[SHOW_TEXT];
    uint64_t n = show_u64(fields, key);
    snprintf(line, sizeof line, "%" PRIu64 " bytes (%s)", n, show_bytes((double)n, short_form));
    cyx_line(key, line);
}

static void show_count(const msgpack_object *fields, const char *key)
{
    char line[CYX_CELL];
    snprintf(line, sizeof line, "%" PRIu64, show_u64(fields, key));
    cyx_line(key, line);
}

static void show_list(const msgpack_object *list, const char *label)
{
    char text[CYX_CELL];
    for (uint32_t i = 0;
         list != NULL && list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size; i++) {
        const char *s = "";
        size_t n = 0;
        mp_str(&list->via.array.ptr[i], &s, &n);
        cyx_line(label, show_clean(s, n, text, sizeof text));
    }
}

static void show_node(const msgpack_object *f)
{
    char line[CYX_CELL], rate[SHOW_TEXT];
    show_text(f, "id");
    show_list(mp_get(f, "addresses"), "address");
    show_text(f, "version");
    show_list(mp_get(f, "roles"), "role");
    snprintf(line, sizeof line, "%s/s", show_bytes((double)show_u64(f, "capacity"), rate));
    cyx_line("capacity", line);
}

static void show_offer(const msgpack_object *f)
{
    const msgpack_object *map = mp_get(f, "map");
    printf("%-14s ", "offer");
    if (map == NULL || map->type == MSGPACK_OBJECT_NIL)
        puts("can't be shown (--raw writes its bytes)");
    else
        show_json(stdout, map); /* strings of a stranger: JSON escapes what drives a terminal */
}

static void show_fields(const char *type, const msgpack_object *f)
{
    if (f == NULL)
        return;
    if (strcmp(type, "node") == 0) {
        show_node(f);
    } else if (strcmp(type, "provider") == 0) {
        show_text(f, "content");
        show_size(f, "size");
        show_text(f, "address");
    } else if (strcmp(type, "descriptor") == 0) {
        show_text(f, "blinded");
        show_count(f, "period");
        show_count(f, "serial");
        show_size(f, "sealed");
    } else if (strcmp(type, "offer") == 0) {
        show_offer(f);
    }
}

static void show_record(const msgpack_object *r)
{
    char type[32];
    putchar('\n');
    cyx_line("type", show_str(r, "type", type, sizeof type));
    show_text(r, "publisher");
    show_count(r, "sequence");
    dht_show_expiry(r, "expires in");
    show_fields(type, mp_get(r, "fields"));
}

/* Records back to back: each says how long it is. */
static int write_raw(const struct cli *c, const msgpack_object_array *records, const char *path)
{
    bool is_stdout = strcmp(path, "-") == 0;
    FILE *to = is_stdout ? stdout : fopen(path, "we");
    size_t total = 0;
    bool ok = to != NULL;
    for (uint32_t i = 0; ok && i < records->size; i++) {
        const uint8_t *bytes = NULL;
        size_t len = 0;
        ok = mp_bin_any(mp_get(&records->ptr[i], "record"), &bytes, &len) &&
             fwrite(bytes, 1, len, to) == len;
        total += len;
    }
    int code = errno;
    if (to != NULL && !is_stdout && fclose(to) != 0) {
        code = errno;
        ok = false;
    }
    if (!ok)
        return cli_error(c, CLI_FAILED, "%s can't be written: %s", path, strerror(code));
    if (!is_stdout && !cli_flag(c, "json"))
        printf("%zu bytes of %" PRIu32 " records written to %s\n", total, records->size, path);
    return CLI_OK;
}

static int show_found(const struct cli *c, const msgpack_object *r)
{
    const msgpack_object *records = mp_get(r, "records");
    const char *raw = cli_value(c, "raw");
    char key[CYX_CELL];
    if (records == NULL || records->type != MSGPACK_OBJECT_ARRAY)
        return cli_error(c, CLI_FAILED, "the daemon's answer has no records");
    if (raw != NULL)
        return write_raw(c, &records->via.array, raw);
    if (cli_flag(c, "json"))
        return CLI_OK;
    cyx_line("key", show_str(r, "key", key, sizeof key));
    dht_show_figures(r);
    for (uint32_t i = 0; i < records->via.array.size; i++)
        show_record(&records->via.array.ptr[i]);
    return CLI_OK;
}

int cyx_dht_get(struct cli *c)
{
    const char *content = cli_value(c, "content"), *raw = cli_value(c, "raw");
    struct dht_params p;
    if ((content != NULL) == (c->n_args == 2))
        return cli_error(c, CLI_USAGE, "want either KEY or --content HEX");
    if (raw != NULL && strcmp(raw, "-") == 0 && cli_flag(c, "json"))
        return cli_error(c, CLI_USAGE, "--json and --raw - would mix on standard output");
    dht_params_init(&p, 4);
    dht_params_str(&p, "type", c->args[0]);
    if (content != NULL)
        dht_params_str(&p, "content", content);
    else
        dht_params_str(&p, "key", c->args[1]);
    dht_params_bool(&p, "fresh", cli_flag(c, "fresh"));
    dht_params_bool(&p, "direct", cli_flag(c, "direct"));
    return dht_call(c, "dht-get", &p, show_found);
}

/* ---- put ------------------------------------------------------------------------------------- */

static int show_stored(const struct cli *c, const msgpack_object *r)
{
    const msgpack_object *places = mp_get(r, "places");
    char line[CYX_CELL], t[SHOW_TEXT];
    if (cli_flag(c, "json"))
        return CLI_OK;
    bool has_many =
        places != NULL && places->type == MSGPACK_OBJECT_ARRAY && places->via.array.size > 1;
    show_text(r, "type");
    show_list(places, "place");
    show_text(r, "publisher");
    show_count(r, "sequence");
    snprintf(line, sizeof line,
             "%" PRIu64 " of %" PRIu64 " nodes asked%s, after %s; %" PRIu64 " refused, %" PRIu64
             " hold a newer one",
             show_u64(r, "stored"), show_u64(r, "asked"),
             has_many ? " (the lesser of its places)" : "", show_seconds(show_number(r, "time"), t),
             show_u64(r, "refused"), show_u64(r, "stale"));
    cyx_line("stored at", line);
    return CLI_OK;
}

/* The whole file, at most one record. Its length, or -1 after a message. */
static long read_record(const struct cli *c, const char *path, uint8_t out[static RECORD_MAX + 1])
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *from = is_stdin ? stdin : fopen(path, "re");
    if (from == NULL) {
        cli_error(c, CLI_FAILED, "%s: %s", path, strerror(errno));
        return -1;
    }
    size_t n = fread(out, 1, RECORD_MAX + 1, from);
    bool is_bad = ferror(from) != 0;
    if (!is_stdin)
        fclose(from);
    if (is_bad || n == 0 || n > RECORD_MAX) {
        cli_error(c, CLI_FAILED, "%s: %s", path,
                  is_bad   ? "can't be read"
                  : n == 0 ? "it is empty; want the bytes of a signed record"
                           : "more than a record's greatest size of 8192 bytes");
        return -1;
    }
    return (long)n;
}

int cyx_dht_put(struct cli *c)
{
    uint8_t record[RECORD_MAX + 1];
    struct dht_params p;
    long len = read_record(c, c->args[0], record);
    if (len < 0)
        return CLI_FAILED;
    dht_params_init(&p, 3);
    mp_pack_str(&p.pk, "record");
    mp_pack_bin(&p.pk, record, (size_t)len);
    dht_params_bool(&p, "once", cli_flag(c, "once"));
    dht_params_bool(&p, "direct", cli_flag(c, "direct"));
    return dht_call(c, "dht-put", &p, show_stored);
}

/* ---- announce -------------------------------------------------------------------------------- */

int cyx_dht_announce(struct cli *c)
{
    const char *address = cli_value(c, "address");
    long size = 0;
    struct dht_params p;
    if (address == NULL || cli_value(c, "size") == NULL)
        return cli_error(c, CLI_USAGE, "want --size N and --address HEX");
    int status = cli_number(c, "size", 0, INT64_MAX, 0, &size);
    if (status != 0)
        return status;
    dht_params_init(&p, 4);
    dht_params_str(&p, "content", c->args[0]);
    dht_params_str(&p, "address", address);
    mp_pack_str(&p.pk, "size");
    msgpack_pack_int64(&p.pk, size);
    dht_params_bool(&p, "direct", cli_flag(c, "direct"));
    return dht_call(c, "dht-announce", &p, show_stored);
}
