/* The loopback port. One request for each connection, answered and closed; everything bounded,
 * since any local user may connect. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "node/http.h"
#include "node/metrics.h"
#include "node/prometheus.h"

struct metrics_client {
    struct list node;
    struct metrics_server *server;
    struct env_stream *stream;
    struct env_timer timer;
    bool is_answered;
    size_t len;
    uint8_t in[HTTP_HEAD_MAX];
};

struct metrics_server {
    struct metrics_options o;
    struct env_listener *listener;
    struct list clients, dead;
    size_t n_clients;
    struct env_task reap;
};

static void reap(void *arg)
{
    struct metrics_server *s = arg;
    while (!list_empty(&s->dead)) {
        struct metrics_client *c = container_of(s->dead.next, struct metrics_client, node);
        list_del(&c->node);
        free(c);
    }
}

static void drop(struct metrics_client *c)
{
    struct metrics_server *s = c->server;
    if (c->stream == NULL)
        return;
    env_stream_close(s->o.env, c->stream);
    c->stream = NULL;
    env_timer_stop(s->o.env, &c->timer);
    list_del(&c->node);
    s->n_clients--;
    list_push_back(&s->dead, &c->node);
    env_defer(s->o.env, &s->reap);
}

static void answer(struct metrics_client *c, int status, const char *type, const char *body,
                   size_t len, bool with_body)
{
    struct env *e = c->server->o.env;
    char head[320];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n%s"
                     "Connection: close\r\n\r\n",
                     status, http_phrase((unsigned)status), type, len,
                     status == 405 ? "Allow: GET, HEAD\r\n" : "");
    c->is_answered = true;
    if (env_stream_write(e, c->stream, head, (size_t)n) < 0 ||
        (with_body && len > 0 && env_stream_write(e, c->stream, body, len) < 0)) {
        drop(c);
        return;
    }
    env_stream_end(e, c->stream); /* the other end closes then, or the timer does */
}

static void answer_text(struct metrics_client *c, int status, const char *text, bool with_body)
{
    answer(c, status, "text/plain; charset=utf-8", text, strlen(text), with_body);
}

static void serve_metrics(struct metrics_client *c, bool with_body)
{
    struct prometheus p;
    prometheus_init(&p);
    c->server->o.collect(c->server->o.arg, prometheus_add, &p);
    prometheus_end(&p);
    if (p.is_full)
        answer_text(c, 503, "no memory\n", with_body);
    else
        answer(c, 200, "text/plain; version=0.0.4; charset=utf-8", p.text.data, p.text.size,
               with_body);
    prometheus_fini(&p);
}

static void serve(struct metrics_client *c, const struct http_request *rq)
{
    const char *text = "";
    if (strcmp(rq->target, "/metrics") == 0) {
        serve_metrics(c, rq->is_get);
    } else if (strcmp(rq->target, "/health") == 0) {
        char line[64];
        bool ok = c->server->o.is_healthy(c->server->o.arg, &text);
        snprintf(line, sizeof line, "%s\n", text);
        answer_text(c, ok ? 200 : 503, line, rq->is_get);
    } else {
        answer_text(c, 404, "here are /metrics and /health\n", rq->is_get);
    }
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct metrics_client *c = arg;
    struct http_request rq;
    size_t used = 0;
    if (len == 0) {
        drop(c);
        return;
    }
    if (c->is_answered)
        return; /* what follows the one request is not read */
    size_t n = len < sizeof c->in - c->len ? len : sizeof c->in - c->len;
    memcpy(c->in + c->len, data, n);
    c->len += n;
    int status = http_parse(&rq, c->in, c->len, &used);
    if (status == 200)
        serve(c, &rq);
    else if (status != 0)
        answer_text(c, status, "refused\n", true);
}

static void on_closed(void *arg, int code)
{
    (void)code;
    drop(arg);
}

static void on_timer(struct env_timer *t, void *arg)
{
    (void)t;
    drop(arg);
}

static const struct env_stream_events events = { .data = on_data, .closed = on_closed };

static void on_accepted(void *arg, struct env_stream *stream)
{
    struct metrics_server *s = arg;
    struct metrics_client *c = s->n_clients < METRICS_CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        env_stream_close(s->o.env, stream);
        return;
    }
    c->server = s;
    c->stream = stream;
    list_push_back(&s->clients, &c->node);
    s->n_clients++;
    env_timer_init(&c->timer, on_timer, c);
    env_timer_in(s->o.env, &c->timer, ENV_MS(METRICS_CLIENT_MS));
    env_stream_attach(s->o.env, stream, &events, c);
}

struct metrics_server *metrics_create(const struct metrics_options *o, struct cyx_err *err)
{
    struct env_endpoint at = { .kind = ENV_TCP, .addr = o->at };
    struct metrics_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the metrics port");
        return NULL;
    }
    s->o = *o;
    list_init(&s->clients);
    list_init(&s->dead);
    env_task_init(&s->reap, reap, s);
    if (env_listen(o->env, &at, on_accepted, s, &s->listener, err) < 0) {
        cyx_wrap(err, "metrics port");
        free(s);
        return NULL;
    }
    return s;
}

void metrics_addr(const struct metrics_server *s, struct env_addr *out)
{
    if (env_listener_addr(s->o.env, s->listener, out) < 0)
        *out = s->o.at;
}

void metrics_destroy(struct metrics_server *s)
{
    if (s == NULL)
        return;
    env_listener_close(s->o.env, s->listener);
    while (!list_empty(&s->clients))
        drop(container_of(s->clients.next, struct metrics_client, node));
    reap(s);
    env_task_cancel(&s->reap);
    free(s);
}
