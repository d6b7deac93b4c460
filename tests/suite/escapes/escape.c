/* What a program in a RUN may try. Prints `ESCAPE|attempt|outcome|errno` for each: `refused`, `succeeded`, or `not applicable`.
   Arguments: a file of the host that begins with CANARY, an abstract socket and a TCP port on which the host listens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <net/if.h>
#include <unistd.h>

#define CANARY "canary of the host"
#define NOT_APPLICABLE 255
#define UP "../../../../../../../../../../../../../../../../../../../.."

static const char *canary, *abstract_name;
static int port;

/* 0 if the attempt succeeded, else why not. */
static int result(long answer) { return answer < 0 ? (errno ? errno : EPERM) : 0; }

static int starts_with(const char *path, const char *text) {
    char found[64] = {0};
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return result(fd);
    long length = read(fd, found, sizeof found - 1);
    close(fd);
    if (length < 0) return result(length);
    return strncmp(found, text, strlen(text)) == 0 ? 0 : ENOENT;
}

/* Whether anything can be read there: what is covered is empty. */
static int readable(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return result(fd);
    long length = read(fd, &byte, 1);
    return length < 0 ? result(length) : length == 0 ? ENODATA : 0;
}

static int writable(const char *path) { return result(open(path, O_WRONLY | O_NONBLOCK)); }

static int lists(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return result(-1);
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.') return 0;
    return ENODATA;
}

/* --- files ------------------------------------------------------------------------------------------------------------------- */

static int host_file(void) { return starts_with(canary, CANARY); }

static int host_file_upwards(void) {
    char path[8192];
    snprintf(path, sizeof path, UP "%s", canary);
    return starts_with(path, CANARY);
}

/* root, cwd and every descriptor of every process, and from there upwards. */
static int host_file_through_proc(void) {
    DIR *proc = opendir("/proc");
    if (!proc) return result(-1);
    for (struct dirent *process; (process = readdir(proc));) {
        if (process->d_name[0] < '0' || process->d_name[0] > '9') continue;
        char links[66][600];
        int count = 0;
        snprintf(links[count++], sizeof *links, "/proc/%s/root", process->d_name);
        snprintf(links[count++], sizeof *links, "/proc/%s/cwd", process->d_name);
        for (int fd = 0; fd < 64; fd++) snprintf(links[count++], sizeof *links, "/proc/%s/fd/%d", process->d_name, fd);
        for (int i = 0; i < count; i++) {
            char path[8192];
            snprintf(path, sizeof path, "%s%s", links[i], canary);
            if (starts_with(path, CANARY) == 0) return 0;
            snprintf(path, sizeof path, "%s/" UP "%s", links[i], canary);
            if (starts_with(path, CANARY) == 0) return 0;
        }
    }
    return ENOENT;
}

static int chroot_break_out(void) {
    mkdir("/tmp/jail", 0700);
    int root = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("/tmp/jail") < 0) return result(-1);
    if (fchdir(root) < 0) return result(-1);
    for (int i = 0; i < 64; i++) if (chdir("..") < 0) return result(-1);
    if (chroot(".") < 0) return result(-1);
    return host_file();
}

static int file_handles(void) {
    struct { struct file_handle head; unsigned char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount, at = open("/", O_RDONLY | O_DIRECTORY);
    handle.head.handle_type = 1;
    if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount, 0) < 0) handle.head.handle_bytes = 8;
    return result(syscall(SYS_open_by_handle_at, at, &handle, O_RDONLY));
}

static int left_open(void) {
    for (int fd = 3; fd < 4096; fd++) if (fcntl(fd, F_GETFD) >= 0) return 0;
    return EBADF;
}

static int fill_shm(void) {
    static char block[1 << 20];
    int fd = open("/dev/shm/fill", O_CREAT | O_WRONLY, 0600), answer = 0;
    if (fd < 0) return result(fd);
    for (int i = 0; i < 80 && answer == 0; i++) answer = write(fd, block, sizeof block) == sizeof block ? 0 : ENOSPC;
    unlink("/dev/shm/fill");
    return answer;
}

/* --- processes --------------------------------------------------------------------------------------------------------------- */

/* The next process after `pid` that may be signalled and is not of this RUN. */
static int foreign(int pid) {
    while (++pid < 70000) if (kill(pid, 0) == 0 && getsid(pid) != getsid(0)) return pid;
    return 0;
}

static int signal_outside(void) { return foreign(0) ? 0 : ESRCH; }

static int trace_outside(void) {
    int answer = ESRCH;
    for (int pid = foreign(0), tried = 0; pid && tried < 200; pid = foreign(pid), tried++) {
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) return 0;
        answer = errno;
    }
    return answer;
}

static int memory_outside(void) {
    char path[64];
    for (int pid = foreign(0), tried = 0; pid && tried < 200; pid = foreign(pid), tried++) {
        snprintf(path, sizeof path, "/proc/%d/mem", pid);
        if (open(path, O_RDONLY) >= 0) return 0;
    }
    return ESRCH;
}

/* The name is put together here, so that it is in no environment of this RUN. */
static int environments(void) {
    static char text[1 << 20];
    char path[64];
    for (int pid = 1; pid < 70000; pid++) {
        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        long length = read(fd, text, sizeof text);
        close(fd);
        if (length > 0 && memmem(text, length, "HOST_" "CANARY=", 12)) return 0;
    }
    return ENOENT;
}

static int join_mounts(void) {
    int fd = open("/proc/1/ns/mnt", O_RDONLY);
    return fd < 0 ? result(fd) : result(setns(fd, CLONE_NEWNS));
}

static int join_by_pidfd(void) {
    int fd = syscall(SYS_pidfd_open, 1, 0);
    return fd < 0 ? result(fd) : result(setns(fd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID));
}

static int cloned(long flags) {
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    return result(pid);
}

static int cloned3(void) {
    struct { unsigned long long flags, rest[10]; } args = {.flags = CLONE_NEWUSER};
    args.rest[3] = SIGCHLD;
    long pid = syscall(SYS_clone3, &args, 88);
    if (pid == 0) _exit(0);
    return result(pid);
}

static int raise_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max == RLIM_INFINITY) return NOT_APPLICABLE;
    limit.rlim_max++;
    return result(setrlimit(RLIMIT_NOFILE, &limit));
}

static int real_time(void) {
    struct sched_param first = {.sched_priority = 1};
    return result(sched_setscheduler(0, SCHED_FIFO, &first));
}

static int out_of_the_oom_killers_sight(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    return fd < 0 ? result(fd) : result(write(fd, "-1000", 5));
}

/* --- devices ----------------------------------------------------------------------------------------------------------------- */

static int device(int kind, int major, int minor) {
    if (mknod("/tmp/device", kind | 0600, makedev(major, minor)) < 0 && errno != EEXIST) return result(-1);
    int answer = result(open("/tmp/device", O_RDONLY | O_NONBLOCK));
    unlink("/tmp/device");
    /* Without such a device there is nothing to refuse. */
    return answer == ENXIO || answer == ENODEV ? 0 : answer;
}

static int other_devices(void) {
    const char *usual[] = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"};
    DIR *directory = opendir("/dev");
    if (!directory) return result(-1);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[600];
        struct stat stat;
        int known = 0;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        for (int i = 0; i < 8; i++) known |= strcmp(usual[i], entry->d_name) == 0;
        if (!known && lstat(path, &stat) == 0 && (S_ISBLK(stat.st_mode) || S_ISCHR(stat.st_mode))) return 0;
    }
    return ENODEV;
}

static int type_into_terminal(void) {
    for (int fd = 0; fd < 3; fd++) if (ioctl(fd, TIOCSTI, "x") == 0) return 0;
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY);
    return terminal < 0 ? result(terminal) : result(ioctl(terminal, TIOCSTI, "x"));
}

/* --- the kernel's settings --------------------------------------------------------------------------------------------------- */

static int cgroups(void) {
    const char *files[] = {"release_agent", "cgroup.procs", "notify_on_release", "cgroup.subtree_control"};
    const char *places[] = {"", "/memory", "/pids", "/devices", "/cpu", "/systemd", "/unified"};
    char path[128];
    for (int place = 0; place < 7; place++) {
        for (int file = 0; file < 4; file++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", places[place], files[file]);
            if (writable(path) == 0) return 0;
        }
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/escape", places[place]);
        if (mkdir(path, 0700) == 0) return rmdir(path), 0;
    }
    return EROFS;
}

static int any(int (*test)(const char *), const char *const *paths) {
    int answer = ENOENT;
    for (; *paths; paths++) {
        int error = test(*paths);
        if (error == 0) return 0;
        if (error != ENOENT) answer = error;
    }
    return answer;
}

static int settings(void) {
    const char *const paths[] = {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/net/ipv4/ip_forward", "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", "/proc/irq/default_smp_affinity", "/proc/mtrr", 0};
    return any(writable, paths);
}

static int covered(void) {
    const char *const paths[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/interrupts", 0};
    return any(readable, paths);
}

static int covered_directories(void) {
    const char *const paths[] = {"/sys/firmware", "/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/devices/virtual/powercap", 0};
    return any(lists, paths);
}

static int debugging(void) {
    const char *const paths[] = {"/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf", 0};
    return any(lists, paths);
}

/* --- networks ---------------------------------------------------------------------------------------------------------------- */

static int abstract_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*abstract_name) return NOT_APPLICABLE;
    strcpy(address.sun_path + 1, abstract_name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return result(connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract_name)));
}

/* Through the device of this number; 0 for the one that the routes lead to. */
static int service_at(const char *host, unsigned device) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 2};
    char name[IF_NAMESIZE];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, host, &address.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (device && (!if_indextoname(device, name) || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name)) < 0)) return errno;
    return result(connect(fd, (struct sockaddr *)&address, sizeof address));
}

/* Also by the addresses that a user mode network has for the host and its resolver, and through a device that carries what is sent
   to loopback out of this namespace (the host then has the connection, whatever becomes of its answer). */
static int loopback(void) {
    const char *const hosts[] = {"127.0.0.1", "10.0.2.2", "10.0.2.3", "0.0.0.0", 0};
    if (!port) return NOT_APPLICABLE;
    for (const char *const *host = hosts; *host; host++)
        for (unsigned device = 0; device < 4; device++)
            if (service_at(*host, device) == 0) return 0;
    return ECONNREFUSED;
}

static int change_network(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCGIFMTU, &request) < 0) return NOT_APPLICABLE;
    return result(ioctl(fd, SIOCSIFMTU, &request));
}

/* A call that is permitted complains of something else than of rights. */
static int permitted(long answer) { return answer >= 0 || (errno != EPERM && errno != EACCES && errno != ENOSYS) ? 0 : errno; }

static void attempt(const char *name, int outcome) {
    const char *word = outcome == 0 ? "succeeded" : outcome == NOT_APPLICABLE ? "not applicable" : "refused";
    printf("ESCAPE|%s|%s|%s\n", name, word, outcome == 0 || outcome == NOT_APPLICABLE ? "" : strerrorname_np(outcome));
    fflush(stdout);
}

/* Each in a process of its own, which may be killed. */
#define TRY(name, what)                                                            \
    do {                                                                           \
        int status = 0;                                                            \
        pid_t child = fork();                                                      \
        if (child == 0) { alarm(20); errno = 0; _exit(what); }                     \
        waitpid(child, &status, 0);                                                \
        attempt(name, WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED);        \
    } while (0)

int main(int argc, char **argv) {
    canary = argc > 1 ? argv[1] : "/";
    abstract_name = argc > 2 ? argv[2] : "";
    port = argc > 3 ? atoi(argv[3]) : 0;
    struct timespec now;
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    struct perf_event_attr event = {.type = PERF_TYPE_HARDWARE, .size = sizeof event};
    char ring[256] = {0}, keys[8] = {0};
    clock_gettime(CLOCK_REALTIME, &now);

    TRY("a file of the host by its path", host_file());
    TRY("a file of the host by way of `..`", host_file_upwards());
    TRY("a file of the host through links of /proc", host_file_through_proc());
    TRY("break out of the root directory (chroot, fchdir, ..)", chroot_break_out());
    TRY("a file by its handle (open_by_handle_at)", file_handles());
    TRY("a descriptor that was left open", left_open());
    TRY("fill /dev/shm beyond 64 MiB", fill_shm());

    TRY("the environment of brik or another process", environments());
    TRY("a signal to a process outside", signal_outside());
    TRY("ptrace of a process outside", trace_outside());
    TRY("the memory of a process outside", memory_outside());
    TRY("join the mounts of process 1 (setns)", join_mounts());
    TRY("join the namespaces of process 1 (pidfd)", join_by_pidfd());
    TRY("a new user namespace (unshare)", result(unshare(CLONE_NEWUSER)));
    TRY("a new user namespace (clone)", cloned(CLONE_NEWUSER));
    TRY("a new user namespace (clone3)", cloned3());
    TRY("a new mount namespace", result(unshare(CLONE_NEWNS)));
    TRY("a new process id namespace", cloned(CLONE_NEWPID));
    TRY("a higher hard limit", raise_limit());
    TRY("a higher priority (nice)", result(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 5)));
    TRY("real-time scheduling", real_time());
    TRY("safety from the OOM killer", out_of_the_oom_killers_sight());

    TRY("mount a tmpfs", result(mount("none", "/tmp", "tmpfs", 0, "")));
    TRY("mount a proc", result(mount("proc", "/tmp", "proc", 0, "")));
    TRY("mount a cgroup", result(mount("cgroup", "/tmp", "cgroup2", 0, "")));
    TRY("bind mount", result(mount("/", "/tmp", 0, MS_BIND, 0)));
    TRY("remount /proc/sys writable", result(mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0)));
    TRY("unmount the cover of /proc/kcore", result(umount2("/proc/kcore", MNT_DETACH)));
    TRY("unmount /proc", result(umount2("/proc", MNT_DETACH)));
    TRY("pivot_root", result(syscall(SYS_pivot_root, ".", ".")));
    TRY("the new mount calls (fsopen)", result(syscall(SYS_fsopen, "tmpfs", 0)));
    TRY("the new mount calls (open_tree)", result(syscall(SYS_open_tree, AT_FDCWD, "/", 1)));
    TRY("the new mount calls (mount_setattr)", permitted(syscall(SYS_mount_setattr, AT_FDCWD, "/proc/sys", 0, ring, 32)));

    TRY("a keyring (keyctl)", result(syscall(SYS_keyctl, 0, -3, 1)));
    TRY("a key (add_key)", result(syscall(SYS_add_key, "user", "escape", keys, 8, -3)));
    TRY("bpf", result(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map)));
    TRY("perf_event_open", permitted(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0)));
    TRY("userfaultfd", result(syscall(SYS_userfaultfd, 0)));
    TRY("io_uring", result(syscall(SYS_io_uring_setup, 1, ring)));
    TRY("load a kernel (kexec_load)", permitted(syscall(SYS_kexec_load, 0, 0, 0, 0)));
    TRY("load a module", permitted(syscall(SYS_init_module, "", 0, "")));
    TRY("unload a module", permitted(syscall(SYS_delete_module, "escape", O_NONBLOCK)));
    TRY("set the time (settimeofday)", result(syscall(SYS_settimeofday, 0, 0)));
    TRY("set the time (clock_settime)", result(clock_settime(CLOCK_REALTIME, &now)));
    TRY("set the host name", result(sethostname("escape", 6)));
    TRY("restart the machine", permitted(syscall(SYS_reboot, 0, 0, 0, 0)));
    TRY("swap", permitted(swapoff("/tmp/escape")));
    TRY("process accounting", result(acct(0)));
#ifdef SYS_iopl
    TRY("the ports of the processor (iopl)", result(syscall(SYS_iopl, 3)));
#endif
    TRY("the kernel's log (syslog)", result(syscall(SYS_syslog, 3, ring, sizeof ring)));
    TRY("the kernel's log (/dev/kmsg)", readable("/dev/kmsg"));
    TRY("SysRq", writable("/proc/sysrq-trigger"));
    TRY("settings in /proc/sys and /sys", settings());
    TRY("what /proc has of the kernel", covered());
    TRY("what /proc and /sys have of the hardware", covered_directories());
    TRY("debugfs, tracefs, bpffs", debugging());
    TRY("control groups (release_agent and the like)", cgroups());

    TRY("make the device /dev/mem", device(S_IFCHR, 1, 1));
    TRY("make the device of the disk (254, 0)", device(S_IFBLK, 254, 0));
    TRY("make the device /dev/kmsg", device(S_IFCHR, 1, 11));
    TRY("devices besides the usual ones", other_devices());
    TRY("type into the terminal (TIOCSTI)", type_into_terminal());

    TRY("packets of the network (AF_PACKET)", result(socket(AF_PACKET, SOCK_RAW, htons(3))));
    TRY("a raw socket", result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
    TRY("the kernel's ciphers (AF_ALG)", result(socket(38, SOCK_SEQPACKET, 0)));
    TRY("the hypervisor (AF_VSOCK)", result(socket(40, SOCK_STREAM, 0)));
    TRY("the host's interfaces", change_network());
    TRY("an abstract socket of the host", abstract_socket());
    TRY("a service on the host's loopback", loopback());
    return 0;
}
