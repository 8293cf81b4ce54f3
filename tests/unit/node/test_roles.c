/* The role loader: what it takes, what it refuses and how it says so, and an orderly end. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "node/config.h"
#include "node/roles.h"

static struct role_set *load(const char *dir, const char *name, struct cyx_err *err)
{
    char names[1][33], path[512];
    snprintf(names[0], sizeof names[0], "%s", name);
    snprintf(path, sizeof path, "%s/%s", CYX_ROLES, dir);
    *err = (struct cyx_err){ 0 };
    return roles_load(path, (const char(*)[33])names, 1, err);
}

Test(roles, loads_the_example_by_name)
{
    struct cyx_err err;
    void *state = NULL;
    const struct conf_item *schemas[4];
    struct role_set *s = load("cyxd", "example", &err);
    cr_assert_not_null(s, "%s", err.msg);
    cr_expect_eq(roles_len(s), 1u);
    cr_expect_str_eq(roles_at(s, 0)->name, "example");
    cr_expect_eq(roles_schemas(s, schemas, 4), 1u);
    cr_expect_null(roles_method(s, "example.greet", 13, &state), "not started yet");
    roles_destroy(s);
}

static const struct {
    const char *name, *says;
    int code;
} broken[] = {
    { "abi", "ABI 2", CYX_EVERSION },  { "symbol", "cyx_role", CYX_EINVAL },
    { "name", "another", CYX_EINVAL }, { "stop", "create, start, stop and destroy", CYX_EINVAL },
    { "table", "[mesh]", CYX_EINVAL }, { "missing", "No such file", CYX_ENOENT },
};

Test(roles, refuses_broken_ones_by_name)
{
    struct cyx_err err;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        cr_expect_null(load("cyxd-broken", broken[i].name, &err));
        cr_expect_eq(err.code, broken[i].code, "%s: %s", broken[i].name, err.msg);
        cr_expect_not_null(strstr(err.msg, broken[i].says), "%s: %s", broken[i].name, err.msg);
        cr_expect_not_null(strstr(err.msg, broken[i].name), "%s", err.msg);
    }
}

Test(roles, refuses_a_name_given_twice)
{
    struct cyx_err err = { 0 };
    char names[2][33] = { "example", "example" };
    cr_expect_null(roles_load(CYX_ROLES "/cyxd", (const char(*)[33])names, 2, &err));
    cr_expect_not_null(strstr(err.msg, "twice"), "%s", err.msg);
}

Test(roles, refuses_a_folder_that_others_may_write)
{
    struct cyx_err err;
    char dir[] = "/tmp/cyx-roles-XXXXXX", names[1][33] = { "example" };
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0777), 0);
    err = (struct cyx_err){ 0 };
    cr_expect_null(roles_load(dir, (const char(*)[33])names, 1, &err));
    cr_expect_eq(err.code, CYX_EPERM);
    rmdir(dir);
}

Test(roles, refuses_a_folder_that_depends_on_where_it_was_started)
{
    struct cyx_err err = { 0 };
    struct node_config_text text = { 0 };
    struct node_overrides over = { 0 };
    static struct node_config peek;
    char line[] = "role_dir = \"cyxd\"\n", names[1][33] = { "example" };
    text.text = line;
    text.len = strlen(line);
    node_config_peek(&peek, &text, &over);
    cr_expect_str_eq(peek.role_dir, "cyxd", "named in the complaint, not passed over");
    cr_expect_null(roles_load(peek.role_dir, (const char(*)[33])names, 1, &err));
    cr_expect_eq(err.code, CYX_EINVAL);
    cr_expect_not_null(strstr(err.msg, "absolute"), "%s", err.msg);
}

/* ---- life, in an environment whose clock the test is --------------------------------------- */

static struct env_timer *armed;
static struct env_task *deferred;

static uint64_t now_ns(struct env *e)
{
    (void)e;
    return 1;
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
    (void)e;
    cr_expect_eq(at_ns, 1 + ENV_MS(ROLE_STOP_MS));
    armed = t;
}

static void timer_stop(struct env *e, struct env_timer *t)
{
    (void)e;
    if (armed == t)
        armed = NULL;
}

static void defer(struct env *e, struct env_task *t)
{
    (void)e;
    deferred = t;
}

static const struct env_ops ops = {
    .now_ns = now_ns, .timer_set = timer_set, .timer_stop = timer_stop, .defer = defer
};
static struct env fake = { .ops = &ops };

static char trace[256];
static env_fn held_done;
static void *held_arg;

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static int create(struct node_ctx *ctx, const struct conf *conf, void **state, struct cyx_err *err)
{
    (void)ctx, (void)conf, (void)state, (void)err;
    note("create ");
    return 0;
}

static int create_fails(struct node_ctx *ctx, const struct conf *conf, void **state,
                        struct cyx_err *err)
{
    (void)ctx, (void)conf, (void)state;
    return cyx_fail(err, CYX_EIO, "no luck");
}

static int start(void *state, struct cyx_err *err)
{
    (void)state, (void)err;
    note("start ");
    return 0;
}

static void stop(void *state, env_fn done, void *arg)
{
    (void)state;
    note("stop ");
    done(arg);
}

static void hang(void *state, env_fn done, void *arg)
{
    (void)state;
    note("hang ");
    held_done = done;
    held_arg = arg;
}

static void destroy(void *state)
{
    (void)state;
    note("destroy ");
}

static const struct node_role quick = { .abi = NODE_ROLE_ABI,
                                        .name = "quick",
                                        .create = create,
                                        .start = start,
                                        .stop = stop,
                                        .destroy = destroy };
static const struct node_role hanging = { .abi = NODE_ROLE_ABI,
                                          .name = "hanging",
                                          .create = create,
                                          .start = start,
                                          .stop = hang,
                                          .destroy = destroy };
static const struct node_role failing = { .abi = NODE_ROLE_ABI,
                                          .name = "failing",
                                          .create = create_fails,
                                          .start = start,
                                          .stop = stop,
                                          .destroy = destroy };

static struct role_set *two(const struct node_role *a, const struct node_role *b)
{
    struct role_set *s = roles_load("/", NULL, 0, NULL);
    trace[0] = '\0';
    cr_assert_eq(roles_add(s, a, NULL), 0);
    cr_assert_eq(roles_add(s, b, NULL), 0);
    return s;
}

static void all_done(void *arg)
{
    (void)arg;
    note("done ");
}

Test(roles, start_in_order_and_stop_in_reverse)
{
    struct node_ctx ctx = { .env = &fake };
    struct role_set *s = two(&quick, &quick);
    cr_assert_eq(roles_create(s, &ctx, NULL, NULL), 0);
    cr_assert_eq(roles_start(s, NULL, NULL), 0);
    roles_stop(s, all_done, NULL);
    roles_destroy(s);
    cr_expect_str_eq(trace, "create create start start stop stop done destroy destroy ");
}

Test(roles, one_that_hangs_is_passed_over_and_left_alone)
{
    struct node_ctx ctx = { .env = &fake };
    struct role_set *s = two(&quick, &hanging);
    cr_assert_eq(roles_create(s, &ctx, NULL, NULL), 0);
    cr_assert_eq(roles_start(s, NULL, NULL), 0);
    roles_stop(s, all_done, NULL);
    cr_assert_not_null(armed);
    armed->fn(armed, armed->arg);
    cr_expect_str_eq(trace, "create create start start hang stop done ");
    held_done(held_arg); /* too late, and harmless */
    roles_destroy(s);
    cr_expect_str_eq(trace, "create create start start hang stop done destroy ");
}

Test(roles, a_failed_create_destroys_those_before_and_names_itself)
{
    struct node_ctx ctx = { .env = &fake };
    struct cyx_err err = { 0 };
    struct role_set *s = two(&quick, &failing);
    cr_expect_lt(roles_create(s, &ctx, NULL, &err), 0);
    cr_expect_str_eq(err.msg, "role failing: no luck");
    cr_expect_str_eq(trace, "create destroy ");
    roles_destroy(s);
}

Test(roles, example_lives_and_answers_with_a_table_of_its_own)
{
    struct node_ctx ctx = { .env = &fake };
    struct cyx_err err;
    void *state = NULL;
    char text[128];
    const struct conf_item *schemas[1];
    struct role_set *s = load("cyxd", "example", &err);
    cr_assert_not_null(s, "%s", err.msg);
    cr_assert_eq(roles_schemas(s, schemas, 1), 1u);
    struct conf *conf = conf_parse("f", "", 0, schemas, 1, NULL, NULL, &err);
    cr_assert_eq(roles_create(s, &ctx, conf, &err), 0);
    cr_assert_eq(roles_start(s, NULL, &err), 0);
    cr_expect_not_null(roles_method(s, "example.greet", 13, &state));
    cr_expect_null(roles_method(s, "example.gree", 12, &state));
    cr_expect_null(roles_method(s, "example", 7, &state));
    cr_expect_eq(roles_health(s, 0, text, sizeof text), NODE_HEALTHY);
    trace[0] = '\0';
    roles_stop(s, all_done, NULL);
    cr_assert_not_null(deferred);
    deferred->fn(deferred->arg);
    cr_expect_str_eq(trace, "done ");
    roles_destroy(s);
    conf_destroy(conf);
}
