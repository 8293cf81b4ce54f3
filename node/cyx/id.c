/* cyx id, cyx record. */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "node/cyx/cyx.h"

static int show_id(const struct cli *c, const msgpack_object *r)
{
    char text[CYX_CELL];
    if (cli_flag(c, "contact")) {
        if (*show_str(r, "contact", text, sizeof text) == '\0')
            return cli_error(
                c, CLI_FAILED,
                "this node has no contact: it isn't listed (`listed = true` in [mesh])");
        puts(text);
        return CLI_OK;
    }
    show_str(r, "id", text, sizeof text);
    cyx_line("id", *text ? text : "none: this node is not listed");
    cyx_line("identity", show_str(r, "identity", text, sizeof text));
    cyx_line("fingerprint", show_str(r, "fingerprint", text, sizeof text));
    show_str(r, "contact", text, sizeof text);
    if (*text != '\0')
        cyx_line("contact", text);
    return CLI_OK;
}

int cyx_id(struct cli *c)
{
    return cyx_simple(c, "id", NULL, 0, CYX_ANSWER_MS, show_id);
}

static void show_expiry(const msgpack_object *r)
{
    char text[64];
    struct tm tm;
    time_t at = (time_t)show_u64(r, "expiry");
    if (gmtime_r(&at, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm) > 0)
        cyx_line("expires", text);
}

static void show_record_bytes(const msgpack_object *r)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    if (!mp_bin_any(mp_get(r, "record"), &bytes, &len))
        return;
    size_t cap = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    cleanup_free char *text = malloc(cap);
    if (text != NULL)
        cyx_line("record",
                 sodium_bin2base64(text, cap, bytes, len, sodium_base64_VARIANT_ORIGINAL));
}

static int show_record(const struct cli *c, const msgpack_object *r)
{
    char text[CYX_CELL], rate[SHOW_TEXT];
    const msgpack_object *addrs = mp_get(r, "addresses");
    (void)c;
    cyx_line("id", show_str(r, "id", text, sizeof text));
    snprintf(text, sizeof text, "%" PRIu64, show_u64(r, "sequence"));
    cyx_line("sequence", text);
    show_expiry(r);
    for (uint32_t i = 0;
         addrs != NULL && addrs->type == MSGPACK_OBJECT_ARRAY && i < addrs->via.array.size; i++) {
        const char *s = "";
        size_t n = 0;
        mp_str(&addrs->via.array.ptr[i], &s, &n);
        cyx_line("address", show_clean(s, n, text, sizeof text));
    }
    cyx_line("version", show_str(r, "version", text, sizeof text));
    snprintf(text, sizeof text, "%s/s", show_bytes((double)show_u64(r, "capacity"), rate));
    cyx_line("capacity", text);
    show_record_bytes(r);
    return CLI_OK;
}

int cyx_record(struct cli *c)
{
    uint8_t buf[256];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    if (c->n_args == 0)
        return cyx_simple(c, "record", NULL, 0, CYX_ANSWER_MS, show_record);
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 1);
    mp_pack_str(&pk, "node");
    mp_pack_str(&pk, c->args[0]);
    if (!writer_ok(&w))
        return cli_error(c, CLI_USAGE, "%s: too long for a node's id", c->args[0]);
    return cyx_simple(c, "record", buf, writer_len(&w), CYX_ANSWER_MS, show_record);
}
