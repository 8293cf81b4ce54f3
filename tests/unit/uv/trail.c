/* Trails on a real disk: what a killed program leaves, and what is none of this boot of the
 * machine. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static uint8_t buf[1 << 16];

static size_t load(struct world *w, size_t cap, int want)
{
    size_t len = 0;
    cr_assert_eq(env_trail_load(w->e, "seen", buf, cap, &len), want);
    return len;
}

static void add(struct world *w, struct env_trail *t, const char *text)
{
    cr_assert_eq(env_trail_add(w->e, t, (const uint8_t *)text, strlen(text)), 0);
}

static struct env_trail *open_trail(struct world *w, bool is_anew)
{
    struct env_trail *t;
    cr_assert_eq(env_trail_open(w->e, "seen", is_anew, &t), 0);
    return t;
}

Test(uv_trail, goes_on_where_it_ended_or_begins_anew, .timeout = 60)
{
    struct world w = world_make();
    struct stat st;
    (void)load(&w, sizeof buf, CYX_ENOENT);
    umask(0);
    struct env_trail *t = open_trail(&w, false);
    cr_expect_eq(load(&w, sizeof buf, 0), 0u);
    add(&w, t, "one ");
    env_trail_close(w.e, t);
    world_reopen(&w);
    t = open_trail(&w, false);
    add(&w, t, "two");
    cr_expect_eq(load(&w, sizeof buf, 0), 7u);
    cr_expect_arr_eq(buf, "one two", 7);
    cr_expect_eq(load(&w, 7, 0), 7u, "just enough room");
    cr_expect_eq(load(&w, 6, CYX_EFULL), 7u, "how much it takes");
    env_trail_close(w.e, t);
    env_trail_close(w.e, NULL);
    t = open_trail(&w, true);
    cr_expect_eq(load(&w, sizeof buf, 0), 0u);
    env_trail_close(w.e, t);
    cr_expect_eq(stat(world_path(&w, "seen"), &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    world_end(&w);
}

Test(uv_trail, outlives_kill_9, .timeout = 60)
{
    struct world w = world_make();
    pid_t child = fork();
    if (child == 0) {
        struct env_trail *t = open_trail(&w, true);
        for (unsigned i = 0; i < 1000; i++)
            add(&w, t, "sixteen bytes...");
        raise(SIGKILL);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect_eq(load(&w, sizeof buf, 0), 16000u);
    world_end(&w);
}

Test(uv_trail, of_another_boot_or_another_owner_of_its_name_is_none, .timeout = 60)
{
    static const char other[] = "cyxtrail00000000-0000-0000-0000-000000000000bytes";
    struct world w = world_make();
    struct env_trail *t;
    write_file(world_path(&w, "seen"), other, sizeof other - 1, 0600);
    (void)load(&w, sizeof buf, CYX_ENOENT);
    t = open_trail(&w, false);
    cr_expect_eq(load(&w, sizeof buf, 0), 0u, "it is begun anew");
    env_trail_close(w.e, t);
    write_file(world_path(&w, "seen"), "cyx", 3, 0600);
    (void)load(&w, sizeof buf, CYX_ENOENT);
    unlink(world_path(&w, "seen"));
    cr_assert_eq(symlink("/etc/passwd", world_path(&w, "seen")), 0);
    (void)load(&w, sizeof buf, CYX_ENOENT);
    cr_expect_lt(env_trail_open(w.e, "seen", true, &t), 0);
    cr_expect_null(t);
    cr_expect_eq(env_trail_open(w.e, "../seen", true, &t), CYX_EINVAL);
    world_end(&w);
}
