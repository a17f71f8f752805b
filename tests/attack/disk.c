/* Logs what a process asks of the disk under $DISK_ROOT, what it sends, and what it prints, in the order in which it
   asks; see disk.py. Preloaded with LD_PRELOAD. A record is one write to the end of $DISK_LOG, so that no lock is needed:

       op, 7 bytes of nothing, thread, inode, offset, length of the path, length of the data; path, data            */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_length;

struct head { char op[8]; uint64_t thread, inode, offset, path_length, data_length; };

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_LOG"), *under = getenv("DISK_ROOT");
    if (!path || !under) return;
    snprintf(root, sizeof root, "%s", under);
    root_length = strlen(root);
    log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void record(char op, uint64_t inode, uint64_t offset, const char *path, const struct iovec *data, int count) {
    struct head head = {{op}, syscall(SYS_gettid), inode, offset, strlen(path), 0};
    struct iovec all[64] = {{&head, sizeof head}, {(void *)path, head.path_length}};
    int used = 2, before = errno;
    for (int i = 0; i < count; i++) {
        if (used == 64) abort();
        head.data_length += data[i].iov_len;
        all[used++] = data[i];
    }
    syscall(SYS_writev, log_fd, all, used);
    errno = before;
}

static int inside(const char *path) {
    return log_fd >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path of a name as the call gives it: relative to a folder that is open, or to the working one. */
static int full(int folder, const char *name, char *path) {
    char base[PATH_MAX], link[64];
    if (name[0] == '/') { snprintf(path, PATH_MAX, "%s", name); return inside(path); }
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return 0;
    base[length] = 0;
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) abort();
    return inside(path);
}

static int opened(int fd, char *path, struct stat *about) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = log_fd < 0 ? -1 : readlink(link, path, PATH_MAX - 1);
    if (length < 0 || fd == log_fd) return 0;
    path[length] = 0;
    return inside(path) && !fstat(fd, about);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int after_open(int fd, int flags, int was_there, const char *path) {
    struct stat about;
    if (fd >= 0 && inside(path) && !fstat(fd, &about) && S_ISREG(about.st_mode)) {
        if (!was_there) record('c', about.st_ino, 0, path, NULL, 0);
        else if (flags & O_TRUNC) record('t', about.st_ino, 0, path, NULL, 0);
    }
    return fd;
}

#define OPEN(name, given, folder, ...)                                                                                 \
    int name(given const char *path, int flags, ...) {                                                                 \
        REAL(name);                                                                                                    \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);                         \
        char named[PATH_MAX]; struct stat about;                                                                       \
        int ours = full(folder, path, named), was_there = ours && !stat(named, &about);                                \
        int fd = real(__VA_ARGS__ path, flags, mode);                                                                  \
        return ours ? after_open(fd, flags, was_there, named) : fd;                                                    \
    }
#define COMMA ,
OPEN(open, , AT_FDCWD, )
OPEN(open64, , AT_FDCWD, )
OPEN(openat, int folder COMMA, folder, folder COMMA)
OPEN(openat64, int folder COMMA, folder, folder COMMA)

static void writing(int fd, const struct iovec *data, int count, off_t offset) {
    char path[PATH_MAX]; struct stat about;
    if (log_fd < 0 || fd == log_fd) return;
    if (opened(fd, path, &about)) {
        int flags = fcntl(fd, F_GETFL);
        if (offset < 0) offset = flags & O_APPEND ? about.st_size : lseek(fd, 0, SEEK_CUR);
        record('w', about.st_ino, offset, path, data, count);
    } else if (fd == 1) record('o', 0, 0, "", data, count);
    else {
        int family; socklen_t size = sizeof family;
        if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) && (family == AF_INET || family == AF_INET6))
            record('s', fd, 0, "", data, count);
    }
}

static void one(int fd, const void *data, size_t size, off_t offset) {
    struct iovec all = {(void *)data, size};
    writing(fd, &all, 1, offset);
}

ssize_t write(int fd, const void *data, size_t size) { REAL(write); one(fd, data, size, -1); return real(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REAL(pwrite); one(fd, data, size, at); return real(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REAL(pwrite64); one(fd, data, size, at); return real(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *data, int count) { REAL(writev); writing(fd, data, count, -1); return real(fd, data, count); }
ssize_t send(int fd, const void *data, size_t size, int flags) { REAL(send); one(fd, data, size, -1); return real(fd, data, size, flags); }
ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(sendto); one(fd, data, size, -1); return real(fd, data, size, flags, to, length);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg); writing(fd, message->msg_iov, message->msg_iovlen, -1); return real(fd, message, flags);
}

#define TRUNCATE(name, type)                                                                                           \
    int name(int fd, type length) {                                                                                    \
        REAL(name);                                                                                                    \
        char path[PATH_MAX]; struct stat about;                                                                        \
        if (opened(fd, path, &about)) record('t', about.st_ino, length, path, NULL, 0);                                \
        return real(fd, length);                                                                                       \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* What was written before a sync began is on disk when it has ended. */
#define SYNC(name)                                                                                                     \
    int name(int fd) {                                                                                                 \
        REAL(name);                                                                                                    \
        char path[PATH_MAX]; struct stat about;                                                                        \
        int ours = opened(fd, path, &about), folder = ours && S_ISDIR(about.st_mode);                                  \
        if (ours) record(folder ? 'D' : 'F', about.st_ino, 0, path, NULL, 0);                                          \
        int result = real(fd);                                                                                         \
        if (ours && !result) record(folder ? 'd' : 'f', about.st_ino, 0, path, NULL, 0);                               \
        return result;                                                                                                 \
    }
SYNC(fsync)
SYNC(fdatasync)

/* Names change after the call has succeeded: what failed has changed nothing. */
static int named(char op, int result, int folder, const char *from, int other, const char *to) {
    char path[PATH_MAX], target[PATH_MAX];
    if (result || log_fd < 0) return result;
    if (!to) { if (full(folder, from, path)) record(op, 0, 0, path, NULL, 0); return result; }
    int ours = full(other, to, target);
    full(folder, from, path);
    struct iovec data = {target, strlen(target)};
    if (ours) record(op, 0, 0, path, &data, 1);
    return result;
}
int rename(const char *a, const char *b) { REAL(rename); return named('r', real(a, b), AT_FDCWD, a, AT_FDCWD, b); }
int renameat(int d, const char *a, int e, const char *b) { REAL(renameat); return named('r', real(d, a, e, b), d, a, e, b); }
int link(const char *a, const char *b) { REAL(link); return named('l', real(a, b), AT_FDCWD, a, AT_FDCWD, b); }
int linkat(int d, const char *a, int e, const char *b, int f) { REAL(linkat); return named('l', real(d, a, e, b, f), d, a, e, b); }
int unlink(const char *a) { REAL(unlink); return named('u', real(a), AT_FDCWD, a, 0, NULL); }
int unlinkat(int d, const char *a, int f) { REAL(unlinkat); return named('u', real(d, a, f), d, a, 0, NULL); }
int rmdir(const char *a) { REAL(rmdir); return named('u', real(a), AT_FDCWD, a, 0, NULL); }
int mkdir(const char *a, mode_t m) { REAL(mkdir); return named('m', real(a, m), AT_FDCWD, a, 0, NULL); }
int mkdirat(int d, const char *a, mode_t m) { REAL(mkdirat); return named('m', real(d, a, m), d, a, 0, NULL); }
