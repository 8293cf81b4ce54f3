/* The sandbox, each time in a child that it closes around. */
#include <signal.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/config_check.h"
#include "node/privs.h"
#include "node/sandbox.h"

static int in_child(int (*fn)(void *arg), void *arg)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static int files(void *arg)
{
    const char *dir = arg;
    char path[256];
    struct sandbox_path paths[] = { { dir, true }, { "/etc/hostname", false } };
    if (node_privs_clear(NULL) < 0 || sandbox_files(paths, 2, NULL) <= 0)
        return 2;
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        return 3;
    if (open("/etc/hostname", O_WRONLY) >= 0)
        return 4;
    snprintf(path, sizeof path, "%s/new", dir);
    if (open(path, O_CREAT | O_WRONLY, 0600) < 0 || unlink(path) != 0)
        return 5;
    snprintf(path, sizeof path, "%s/../cyx-outside", dir);
    return open(path, O_CREAT | O_WRONLY, 0600) < 0 && errno == EACCES ? 0 : 6;
}

Test(sandbox, files_outside_are_closed)
{
    char dir[] = "/tmp/cyx-sandbox-XXXXXX";
    if (syscall(444, NULL, (size_t)0, 1) <= 0)
        cr_skip_test("this kernel has no Landlock");
    cr_assert_not_null(mkdtemp(dir));
    cr_expect_eq(in_child(files, dir), 0);
    rmdir(dir);
}

/* The session bus and the like listen there. */
static int abstract(void *arg)
{
    const struct sockaddr_un *at = arg;
    struct sandbox_path path = { "/tmp", false };
    if (node_privs_clear(NULL) < 0 || sandbox_files(&path, 1, NULL) <= 0)
        return 2;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 && errno == EPERM ? 0 : 3;
}

Test(sandbox, sockets_without_a_file_are_out_of_reach)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (syscall(444, NULL, (size_t)0, 1) < 6)
        cr_skip_test("this kernel's Landlock has no scopes");
    snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "cyx-abstract-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_expect_eq(in_child(abstract, &at), 0);
    close(fd);
}

static void *wait_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static int with_a_thread(void *arg)
{
    pthread_t t;
    struct cyx_err err = { 0 };
    struct sandbox_path path = { arg, true };
    if (node_privs_clear(NULL) < 0 || pthread_create(&t, NULL, wait_for_ever, NULL) != 0)
        return 2;
    return sandbox_files(&path, 1, &err) == CYX_EPERM && strstr(err.msg, "threads") != NULL ? 0 : 3;
}

Test(sandbox, refuses_to_close_around_a_part_of_the_threads)
{
    char dir[] = "/tmp";
    if (syscall(444, NULL, (size_t)0, 1) <= 0)
        cr_skip_test("this kernel has no Landlock");
    cr_expect_eq(in_child(with_a_thread, dir), 0);
}

/* `useradd` puts a new file in the place of the one that the sandbox lets through. */
static int accounts(void *arg)
{
    struct sandbox_path paths[] = { { "/etc/nsswitch.conf", false } };
    (void)arg;
    if (node__check_user("cyx-no-such-user", NULL) == 0 ||
        node__check_group("cyx-no-such-group", NULL) == 0)
        return 2;
    if (node_privs_clear(NULL) < 0 || sandbox_files(paths, 1, NULL) <= 0)
        return 3;
    return node__check_user("root", NULL) == 0 && node__check_group("root", NULL) == 0 ? 0 : 4;
}

Test(sandbox, accounts_that_can_not_be_read_are_no_mistake_in_the_file)
{
    if (syscall(444, NULL, (size_t)0, 1) <= 0)
        cr_skip_test("this kernel has no Landlock");
    cr_expect_eq(in_child(accounts, NULL), 0);
}

static void *in_thread(void *arg)
{
    (void)arg;
    syscall(SYS_unshare, 0);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static int forbidden(void *arg)
{
    pthread_t t;
    if (node_privs_clear(NULL) < 0 || sandbox_calls(NULL) <= 0)
        return 2;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0); /* still allowed */
    if (fd < 0)
        return 3;
    switch (*(const int *)arg) {
    case 0:
        syscall(SYS_unshare, 0);
        break;
    case 1:
        socket(AF_PACKET, SOCK_RAW, 0);
        break;
    case 2:
        syscall(SYS_bpf, 0, NULL, 0);
        break;
    case 3:
        pthread_create(&t, NULL, in_thread, NULL);
        pthread_join(t, NULL);
        break;
    case 4:
        syscall(SYS_setuid, 0);
        break;
    case 5: /* a way to the kernel's firewall code */
        syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
        break;
    case 6:
        socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
        break;
    case 7:
        kill(getppid(), 0);
        break;
    case 8:
        syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, NULL, NULL);
        break;
    case 9: /* Landlock does not rule over modes */
        chmod("/tmp", 01777);
        break;
    default:
        return 0;
    }
    return 4;
}

Test(sandbox, calls_that_are_not_listed_end_the_process)
{
    for (int i = 0; i < 10; i++) {
        int status = in_child(forbidden, &i);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "case %d: status %x", i,
                  (unsigned)status);
    }
    int none = 10;
    cr_expect_eq(in_child(forbidden, &none), 0);
}

static int allowed(void *arg)
{
    pthread_t t;
    (void)arg;
    if (node_privs_clear(NULL) < 0 || sandbox_calls(NULL) <= 0)
        return 2;
    if (socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) < 0)
        return 3;
    if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
        return 4;
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 && kill(getpid(), 0) == 0 ? 0 : 5;
}

Test(sandbox, threads_addresses_and_limits_still_work)
{
    cr_expect_eq(in_child(allowed, NULL), 0);
}

static int capabilities(void *arg)
{
    (void)arg;
    if (node_privs_clear(NULL) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 2;
    return chown("/tmp", 0, 0) != 0 && geteuid() == 0 && setgid(1) == 0 ? 3 : 0;
}

Test(sandbox, root_without_capabilities_can_not_change_its_group)
{
    cr_expect_eq(in_child(capabilities, NULL), 0);
}
