/* What one RUN can do with a descriptor that another one has handed to it.
 *
 *   hand give SOCKET PATH    opens PATH, a directory for reading or a file for writing, hands it over, and ends
 *   hand write SOCKET        takes a directory, and when its giver has ended writes to the file `tool` in it until that is refused
 *   hand map SOCKET          takes a file, maps it for writing, closes it, and waits for somebody who kills it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char payload = 'x', control[CMSG_SPACE(sizeof(int))];
static struct iovec body = {&payload, 1};
static struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int give(int to, struct sockaddr_un *address, const char *path) {
    int file = open(path, O_RDONLY | O_DIRECTORY);
    if (file < 0 && (file = open(path, O_RDWR)) < 0)
        return failed(path);
    for (int i = 0; connect(to, (void *)address, sizeof *address); i++) {
        if (i == 600)
            return failed("connect");
        usleep(100000);
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof file);
    memcpy(CMSG_DATA(header), &file, sizeof file);
    if (sendmsg(to, &message, 0) != 1)
        return failed("sendmsg");
    /* Until it has been taken. */
    return read(to, &payload, 1) == 1 ? 0 : failed("read");
}

int main(int count, char **words) {
    struct sockaddr_un address = {AF_UNIX};
    strncpy(address.sun_path, words[2], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), giver, file;
    if (!strcmp(words[1], "give"))
        return give(listener, &address, words[3]);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 1) || (giver = accept(listener, 0, 0)) < 0)
        return failed("accept");
    if (recvmsg(giver, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
        return failed("recvmsg");
    memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof file);
    if (!strcmp(words[1], "map")) {
        char *bytes = mmap(0, 1, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (bytes == MAP_FAILED || close(file) || write(giver, &payload, 1) != 1)
            return failed("mmap");
        for (;; usleep(100000))
            ++*bytes;
    }
    if (write(giver, &payload, 1) != 1)
        return failed("write");
    while (read(giver, &payload, 1) > 0)
        ;
    for (int i = 0; i < 300; i++) {
        int tool = openat(file, "tool", O_WRONLY | O_TRUNC);
        if (tool < 0) {
            puts(strerror(errno));
            return 0;
        }
        dprintf(tool, "EVIL %d\n", i);
        close(tool);
        usleep(100000);
    }
    puts("written for half a minute");
    return 0;
}
