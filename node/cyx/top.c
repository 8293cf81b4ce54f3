/* cyx top: the live node, drawn anew every second until q. With --json one object for each look;
 * with
 * --once one look as plain text. */
#include <inttypes.h>
#include <math.h>
#include <ncurses.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/cyx/cyx.h"

enum { TOP_EVERY_MS = 1000, TOP_LINE = 256 };

struct screen {
    bool is_plain;
    int row, rows;
};

__attribute__((format(printf, 2, 3))) static void put(struct screen *s, const char *fmt, ...)
{
    char line[TOP_LINE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (s->is_plain)
        puts(line);
    else if (s->row < s->rows)
        mvaddnstr(s->row, 0, line, COLS);
    s->row++;
}

static void draw_head(struct screen *s, const msgpack_object *st, const msgpack_object *rates)
{
    char id[80], state[32], a[SHOW_TEXT], b[SHOW_TEXT], m[SHOW_TEXT];
    show_str(st, "id", id, sizeof id);
    id[16] = '\0';
    put(s, "cyx top - %s %s, up %s, %s of memory", *id ? id : "(not listed)",
        show_str(st, "state", state, sizeof state), show_seconds(show_number(st, "uptime"), a),
        show_bytes((double)show_u64(st, "rss"), m));
    put(s, "links %" PRIu64 ", nodes known %" PRIu64, show_u64(st, "links"), show_u64(st, "known"));
    const msgpack_object *dht = mp_get(st, "dht");
    if (dht != NULL && dht->type == MSGPACK_OBJECT_MAP)
        put(s, "dht %s, contacts %" PRIu64 ", records %" PRIu64 " (%s), lookups %" PRIu64,
            show_bool(dht, "ready") ? "ready" : "joining", show_u64(dht, "contacts"),
            show_u64(dht, "stored"), show_bytes((double)show_u64(dht, "stored_bytes"), a),
            show_u64(dht, "lookups"));
    put(s, "in %s/s  out %s/s  packets %.0f/%.0f a second  cells %.0f/s  drops %.0f/s",
        show_bytes(show_number(rates, "rx_bytes"), a),
        show_bytes(show_number(rates, "tx_bytes"), b), show_number(rates, "rx_packets"),
        show_number(rates, "tx_packets"), show_number(rates, "cells"), show_number(rates, "drops"));
}

static void draw_peer(struct screen *s, const msgpack_object *p)
{
    char id[80], state[16], addr[80], rtt[SHOW_TEXT], rx[SHOW_TEXT], tx[SHOW_TEXT];
    show_str(p, "id", id, sizeof id);
    id[16] = '\0';
    put(s, "%6" PRIu64 "  %-16s  %-8s %9s %11s %11s  %s", show_u64(p, "link"),
        *id ? id : "(a user)", show_str(p, "state", state, sizeof state),
        show_seconds(show_number(p, "rtt"), rtt), show_bytes((double)show_u64(p, "rx_bytes"), rx),
        show_bytes((double)show_u64(p, "tx_bytes"), tx), show_str(p, "address", addr, sizeof addr));
}

static void draw(struct screen *s, const msgpack_object *r)
{
    const msgpack_object *peers = mp_get(r, "peers");
    draw_head(s, mp_get(r, "status"), mp_get(r, "rates"));
    put(s, " ");
    put(s, "%6s  %-16s  %-8s %9s %11s %11s  %s", "LINK", "NODE", "STATE", "RTT", "RECEIVED", "SENT",
        "ADDRESS");
    for (uint32_t i = 0;
         peers != NULL && peers->type == MSGPACK_OBJECT_ARRAY && i < peers->via.array.size; i++)
        draw_peer(s, &peers->via.array.ptr[i]);
}

static int look(struct cli *c, struct client *client, struct screen *s)
{
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    if (client_call(client, "top", NULL, 0, CYX_ANSWER_MS, NULL, NULL, &r, &err) < 0) {
        if (!s->is_plain)
            endwin();
        return cyx_failed(c, &err);
    }
    if (cli_flag(c, "json")) {
        show_json(stdout, r);
        fflush(stdout);
    } else {
        draw(s, r);
    }
    return CLI_OK;
}

static int run_screen(struct cli *c, struct client *client)
{
    int status = CLI_OK;
    const char *term = getenv("TERM");
    SCREEN *screen = newterm(NULL, stdout, stdin); /* initscr would end the program */
    if (screen == NULL)
        return cli_error(c, CLI_FAILED, "this terminal can't be drawn on (TERM=%s); use --once",
                         term != NULL ? term : "");
    cbreak();
    noecho();
    curs_set(0);
    timeout(TOP_EVERY_MS);
    for (int key = 0; status == CLI_OK && key != 'q' && key != 'Q'; key = getch()) {
        struct screen s = { .rows = LINES };
        erase();
        status = look(c, client, &s);
        if (status == CLI_OK)
            refresh();
    }
    if (!isendwin())
        endwin();
    delscreen(screen);
    return status;
}

int cyx_top(struct cli *c)
{
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    bool json = cli_flag(c, "json"), once = cli_flag(c, "once");
    struct screen plain = { .is_plain = true };
    int status = json || once ? look(c, client, &plain) : run_screen(c, client);
    while (json && !once && status == CLI_OK && !ferror(stdout)) {
        usleep(TOP_EVERY_MS * 1000);
        status = look(c, client, &plain);
    }
    client_close(client);
    return status;
}
