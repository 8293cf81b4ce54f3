/* cyx connect NAME PORT: standard input and output on a stream, through the daemon's SOCKS door. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "node/cyx/endpoint.h"

enum {
    PIECE = 4096, /* a pipe that polls writable takes PIPE_BUF bytes without blocking */
    BUFFER = 65536,
    HOST_MAX = 255,
    REQUEST_MAX = 3 + 3 + 2 * 255 + 7 + HOST_MAX,
};

/* ---- the door -------------------------------------------------------------------------------- */

static int to_door(const struct cli *c, const struct env_addr *at)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(at->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(at->port) };
    char text[ENV_ADDR_TEXT];
    memcpy(&v4.sin_addr, at->ip + 12, 4);
    memcpy(&v6.sin6_addr, at->ip, 16);
    bool is_v4 = env_addr_is_v4(at);
    cleanup_close int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *to = is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    if (fd < 0 || connect(fd, to, is_v4 ? sizeof v4 : sizeof v6) < 0) {
        (void)cli_error(c, CLI_UNREACHABLE, "the SOCKS door at %s: %s", env_addr_text(at, text),
                        strerror(errno));
        return -1;
    }
    return steal_fd(&fd);
}

/* Asks the daemon where its door is; a status, or 0 with *fd. */
static int open_door(struct cli *c, int *fd)
{
    char text[CYX_CELL];
    struct env_addr at;
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    struct client *client = cyx_connect(c);
    int status = client != NULL ? CLI_OK : CLI_UNREACHABLE;
    if (client != NULL &&
        client_call(client, "doors", NULL, 0, CYX_ANSWER_MS, NULL, NULL, &r, &err) < 0)
        status = cyx_failed(c, &err);
    if (status == CLI_OK && *show_str(r, "socks", text, sizeof text) == '\0')
        status = cli_error(c, CLI_FAILED,
                           "the SOCKS door is off: set `listen` in [socks], or free its port");
    if (status == CLI_OK && env_addr_parse(&at, text, &err) < 0)
        status = cyx_failed(c, &err);
    client_close(client);
    if (status == CLI_OK && (*fd = to_door(c, &at)) < 0)
        status = CLI_UNREACHABLE;
    return status;
}

/* ---- the request ----------------------------------------------------------------------------- */

static const char *text_of(unsigned code)
{
    static const char *const texts[] = {
        "",
        "it is busy, or asks for too much work",
        "not allowed: not a .cyx name, or it wants a client key (`cyx key new`)",
        "this node is not ready yet (`cyx doctor`)",
        "nobody has a descriptor of it, or its relays can't be reached (`cyx why` tells)",
        "it doesn't offer this port, or the program behind it is not there",
        "it took too long (`cyx why` tells where)",
        "the door doesn't know the command",
        "no such name on this machine, and not an address: mistyped?",
    };
    return code < sizeof texts / sizeof texts[0] ? texts[code] : "refused";
}

static bool send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool receive_all(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, data, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void put_login(struct writer *w, const char *tag)
{
    static const char user[] = "cyx-connect";
    writer_u8(w, 1);
    writer_u8(w, sizeof user - 1);
    writer_copy(w, user, sizeof user - 1);
    writer_u8(w, (uint8_t)strlen(tag));
    writer_copy(w, tag, strlen(tag));
}

/* Everything in one go: the door takes it as it comes. */
static bool put_request(struct writer *w, const char *name, uint16_t port, const char *tag)
{
    char host[HOST_MAX + 8];
    int n = snprintf(host, sizeof host, "%s%s", name, strchr(name, '.') == NULL ? ".cyx" : "");
    if (n <= 0 || n > HOST_MAX || (tag != NULL && (*tag == '\0' || strlen(tag) > 255)))
        return false;
    writer_u8(w, 5);
    writer_u8(w, 1);
    writer_u8(w, tag != NULL ? 2 : 0);
    if (tag != NULL)
        put_login(w, tag);
    writer_copy(w, "\x05\x01\x00\x03", 4);
    writer_u8(w, (uint8_t)n);
    writer_copy(w, host, (size_t)n);
    writer_u16(w, port);
    return writer_ok(w);
}

static int ask(const struct cli *c, int fd, uint16_t port)
{
    uint8_t buf[REQUEST_MAX], answer[22];
    const char *tag = cli_value(c, "isolate");
    size_t head = tag != NULL ? 4 : 2;
    struct writer w = writer_on(buf, sizeof buf);
    if (!put_request(&w, c->args[0], port, tag))
        return cli_error(c, CLI_USAGE, "%s: the name or the tag is too long", c->args[0]);
    if (!send_all(fd, buf, writer_len(&w)) || !receive_all(fd, answer, head + 4))
        return cli_error(c, CLI_FAILED, "the door closed the connection");
    const uint8_t *reply = answer + head;
    if (answer[0] != 5 || reply[0] != 5 || reply[3] != 1)
        return cli_error(c, CLI_FAILED, "what listens there is no SOCKS5 door of cyxd");
    if (reply[1] != 0)
        return cli_error(c, CLI_FAILED, "%s, port %u: %s", c->args[0], port, text_of(reply[1]));
    return receive_all(fd, answer, 4 + 2) ? CLI_OK : CLI_FAILED;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* One direction. */
struct way {
    int from, to;
    bool is_socket_from; /* else `from` is standard input */
    bool has_end;        /* `from` said its last byte */
    bool is_over;        /* ... and `to` was told */
    size_t at, len;
    uint8_t buf[BUFFER];
};

/* False when the stream broke. */
static bool way_read(struct way *w)
{
    ssize_t n = read(w->from, w->buf, sizeof w->buf);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n < 0 && w->is_socket_from)
        return false;
    w->has_end = n <= 0; /* of standard input an error is an end too */
    w->at = 0;
    w->len = n > 0 ? (size_t)n : 0;
    return true;
}

static bool way_write(struct way *w)
{
    size_t left = w->len - w->at;
    ssize_t n = w->is_socket_from ? write(w->to, w->buf + w->at, left < PIECE ? left : PIECE)
                                  : send(w->to, w->buf + w->at, left, MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n < 0)
        return false;
    w->at += (size_t)n;
    return true;
}

/* The last byte is out: says so. */
static void way_end(struct way *w)
{
    w->is_over = true;
    if (w->is_socket_from)
        (void)close(w->to);
    else
        (void)shutdown(w->to, SHUT_WR);
}

/* What a direction waits for: to read when its buffer is empty, else to write. */
static struct pollfd poll_of(const struct way *w)
{
    if (w->is_over || (w->has_end && w->at == w->len))
        return (struct pollfd){ .fd = -1 };
    if (w->at < w->len)
        return (struct pollfd){ .fd = w->to, .events = POLLOUT };
    return (struct pollfd){ .fd = w->from, .events = POLLIN };
}

static bool way_step(struct way *w, short events)
{
    bool is_fine = true;
    if (events != 0)
        is_fine = w->at < w->len ? way_write(w) : way_read(w);
    if (is_fine && !w->is_over && w->has_end && w->at == w->len)
        way_end(w);
    return is_fine;
}

/* True when both directions ended in order. A person at a terminal need not end theirs once the
 * other side did. */
static bool carry(struct way *out, struct way *in)
{
    while (!(in->is_over && (out->is_over || isatty(out->from) == 1))) {
        struct pollfd fds[2] = { poll_of(out), poll_of(in) };
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return false;
        if (!way_step(in, fds[1].revents) || !way_step(out, fds[0].revents))
            return false;
    }
    return true;
}

int cyx_connect_to(struct cli *c)
{
    char *end = NULL;
    unsigned long port = strtoul(c->args[1], &end, 10);
    cleanup_close int fd = -1;
    if (port < 1 || port > UINT16_MAX || *end != '\0')
        return cli_error(c, CLI_USAGE, "%s: want a port from 1 to 65535", c->args[1]);
    int status = open_door(c, &fd);
    if (status == CLI_OK)
        status = ask(c, fd, (uint16_t)port);
    if (status != CLI_OK)
        return status;
    struct way *out = calloc(1, sizeof *out), *in = calloc(1, sizeof *in);
    if (out != NULL && in != NULL && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) {
        out->from = STDIN_FILENO;
        out->to = fd;
        in->from = fd;
        in->to = STDOUT_FILENO;
        in->is_socket_from = true;
        status = carry(out, in) ? CLI_OK
                                : cli_error(c, CLI_FAILED,
                                            "the connection broke: what came may not be all "
                                            "(`cyx log` has the reason)");
    }
    free(out);
    free(in);
    return status;
}
