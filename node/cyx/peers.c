/* cyx peers: one row for each link. */
#include <inttypes.h>
#include <string.h>

#include "node/cyx/cyx.h"

static const char *const titles[] = { "LINK", "NODE",     "STATE", "DIR",   "CIPHER", "RTT",
                                      "UP",   "RECEIVED", "SENT",  "CELLS", "ADDRESS" };

static const char *short_cipher(const char *cipher)
{
    return strncmp(cipher, "aes", 3) == 0 ? "aes-gcm" : *cipher ? "chacha" : "-";
}

static void add_row(struct show_table *t, const msgpack_object *p)
{
    char text[CYX_CELL], a[SHOW_TEXT];
    snprintf(text, sizeof text, "%" PRIu64, show_u64(p, "link"));
    show_table_cell(t, text);
    show_str(p, "id", text, sizeof text);
    text[16] = '\0'; /* sixteen digits tell nodes apart; --json has the whole */
    show_table_cell(t, *text ? text : show_bool(p, "listed") ? "(asking)" : "(a user)");
    show_table_cell(t, show_str(p, "state", text, sizeof text));
    show_table_cell(t, show_bool(p, "initiator") ? "out" : "in");
    show_table_cell(t, short_cipher(show_str(p, "cipher", text, sizeof text)));
    double rtt = show_number(p, "rtt");
    show_table_cell(t, rtt > 0 ? show_seconds(rtt, a) : "-");
    show_table_cell(t, show_seconds(show_number(p, "up"), a));
    show_table_cell(t, show_bytes((double)show_u64(p, "rx_bytes"), a));
    show_table_cell(t, show_bytes((double)show_u64(p, "tx_bytes"), a));
    snprintf(text, sizeof text, "%" PRIu64 "/%" PRIu64, show_u64(p, "rx_cells"),
             show_u64(p, "tx_cells"));
    show_table_cell(t, text);
    show_table_cell(t, show_str(p, "address", text, sizeof text));
}

static int show_ids(const msgpack_object_array *peers)
{
    char id[CYX_CELL];
    for (uint32_t i = 0; i < peers->size; i++)
        if (*show_str(&peers->ptr[i], "id", id, sizeof id) != '\0')
            puts(id);
    return CLI_OK;
}

static int show_peers(const struct cli *c, const msgpack_object *r)
{
    if (r->type != MSGPACK_OBJECT_ARRAY)
        return cli_error(c, CLI_FAILED, "the daemon's answer is not a list");
    if (cli_flag(c, "ids"))
        return show_ids(&r->via.array);
    if (r->via.array.size == 0) {
        puts("No links yet. `cyx doctor` says what may be missing.");
        return CLI_OK;
    }
    struct show_table *t = show_table_create(titles, sizeof titles / sizeof *titles);
    for (uint32_t i = 0; i < r->via.array.size; i++)
        add_row(t, &r->via.array.ptr[i]);
    show_table_print(t, stdout);
    show_table_destroy(t);
    return CLI_OK;
}

int cyx_peers(struct cli *c)
{
    return cyx_simple(c, "peers", NULL, 0, CYX_ANSWER_MS, show_peers);
}
