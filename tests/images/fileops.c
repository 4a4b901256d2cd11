/* SPDX-License-Identifier: MIT */
/*
 * Changes files as the lines on standard input say, for the scripts that make images.
 *
 *   fileops DIR < LINES
 *
 * Paths are relative to DIR; numbers may end in k or m; # begins a comment.
 *   write F OFF LEN             one O_DIRECT write of zeros: one new extent, for at most 128 MiB
 *   scatter F STEP COUNT        COUNT O_DIRECT writes of 4 KiB, STEP bytes from one to the next
 *   buffered F OFF LEN          buffered write of zeros, flushed at once
 *   noise F OFF LEN SEED        the same with bytes that cannot be compressed
 *   clone F OFF LEN F2 OFF2     shares a range of F with F2 (LEN 0: to the end)
 *   truncate F SIZE | punch F OFF LEN | fallocate F OFF LEN | unlink F | mkdir F
 *   many PREFIX COUNT BYTES     files PREFIX0, PREFIX1, ... of BYTES zeros each
 *   fsync F                     as a program would: through the log tree
 *   simple-quota                turns simple quotas on, which old progs cannot do
 *   delete V                    deletes the subvolume V and makes the kernel begin to drop it
 *   sleep N                     N microseconds
 *   freeze                      freezes the file system (a process later would be too late)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WORDS 8
#define MAX_WRITE (128u << 20)
#define QUOTA_CTL_ENABLE_SIMPLE 4

static uint64_t line_number;

static void fail(const char *what, int error)
{
	fprintf(stderr, "fileops: line %" PRIu64 ": %s%s%s\n", line_number, what, error ? ": " : "",
		error ? strerror(error) : "");
	exit(1);
}

static void check(int ret, const char *what)
{
	if (ret < 0)
		fail(what, errno);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		fail("bad number", 0);
	if (*end == 'k' || *end == 'm')
		n <<= *end++ == 'k' ? 10 : 20;
	if (*end || n > INT64_MAX)
		fail("bad number", 0);
	return n;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	check(fd, path);
	return fd;
}

static void *buffer(uint64_t len)
{
	static void *zeros;

	if (len > MAX_WRITE)
		fail("a write is 128 MiB at most", 0);
	if (!zeros && posix_memalign(&zeros, 4096, MAX_WRITE))
		fail("out of memory", 0);
	memset(zeros, 0, len);
	return zeros;
}

static void put(int fd, const void *bytes, uint64_t len, uint64_t off)
{
	ssize_t done = pwrite(fd, bytes, len, (off_t)off);

	check((int)(done < 0 ? -1 : 0), "write");
	if ((uint64_t)done != len)
		fail("short write", 0);
}

static void op_write(char **word)
{
	int fd = open_file(word[0], O_WRONLY | O_CREAT | O_DIRECT);

	put(fd, buffer(number(word[2])), number(word[2]), number(word[1]));
	close(fd);
}

static void op_scatter(char **word)
{
	uint64_t step = number(word[1]), count = number(word[2]);
	int fd = open_file(word[0], O_WRONLY | O_CREAT | O_DIRECT);

	for (uint64_t i = 0; i < count; i++)
		put(fd, buffer(4096), 4096, i * step);
	close(fd);
}

static void op_buffered(char **word)
{
	uint64_t off = number(word[1]), len = number(word[2]);
	int fd = open_file(word[0], O_WRONLY | O_CREAT);

	put(fd, buffer(len), len, off);
	check(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER),
	      "flush");
	close(fd);
}

static void op_noise(char **word)
{
	uint64_t off = number(word[1]), len = number(word[2]), state = number(word[3]);
	unsigned char *bytes = buffer(len);
	int fd = open_file(word[0], O_WRONLY | O_CREAT);

	for (uint64_t i = 0; i < len; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (unsigned char)(state >> 56);
	}
	put(fd, bytes, len, off);
	check(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER),
	      "flush");
	close(fd);
}

static void op_clone(char **word)
{
	int from = open_file(word[0], O_RDONLY);
	int to = open_file(word[3], O_WRONLY | O_CREAT);
	struct file_clone_range range = {
		.src_fd = from,
		.src_offset = number(word[1]),
		.src_length = number(word[2]),
		.dest_offset = number(word[4]),
	};

	check(ioctl(to, FICLONERANGE, &range), "clone");
	close(from);
	close(to);
}

static void op_truncate(char **word)
{
	int fd = open_file(word[0], O_WRONLY | O_CREAT);

	check(ftruncate(fd, (off_t)number(word[1])), "truncate");
	close(fd);
}

static void allocate(char **word, int mode)
{
	int fd = open_file(word[0], O_WRONLY | O_CREAT);

	check(fallocate(fd, mode, (off_t)number(word[1]), (off_t)number(word[2])), "fallocate");
	close(fd);
}

static void op_punch(char **word)
{
	allocate(word, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static void op_fallocate(char **word)
{
	allocate(word, 0);
}

static void op_unlink(char **word)
{
	check(unlink(word[0]), "unlink");
}

static void op_mkdir(char **word)
{
	check(mkdir(word[0], 0755), "mkdir");
}

static void op_many(char **word)
{
	uint64_t count = number(word[1]), bytes = number(word[2]);
	char path[4096];

	for (uint64_t i = 0; i < count; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s%" PRIu64, word[0], i);
		fd = open_file(path, O_WRONLY | O_CREAT);
		put(fd, buffer(bytes), bytes, 0);
		close(fd);
	}
}

static void op_fsync(char **word)
{
	int fd = open_file(word[0], O_WRONLY);

	check(fsync(fd), "fsync");
	close(fd);
}

static void op_simple_quota(char **word)
{
	struct btrfs_ioctl_quota_ctl_args args = { .cmd = QUOTA_CTL_ENABLE_SIMPLE };
	int fd = open_file(".", O_RDONLY | O_DIRECTORY);

	(void)word;
	check(ioctl(fd, BTRFS_IOC_QUOTA_CTL, &args), "simple quotas");
	close(fd);
}

static void op_delete(char **word)
{
	struct btrfs_ioctl_vol_args args = { .fd = 0 };
	int fd = open_file(".", O_RDONLY | O_DIRECTORY);

	if (strlen(word[0]) > BTRFS_PATH_NAME_MAX)
		fail("name too long", 0);
	strcpy(args.name, word[0]);
	check(ioctl(fd, BTRFS_IOC_SNAP_DESTROY, &args), "delete");
	/* The sync also wakes the thread that drops deleted subvolumes. */
	check(ioctl(fd, BTRFS_IOC_SYNC, NULL), "sync");
	close(fd);
}

static void op_sleep(char **word)
{
	usleep((useconds_t)number(word[0]));
}

static void op_freeze(char **word)
{
	int fd = open_file(".", O_RDONLY | O_DIRECTORY);

	(void)word;
	check(ioctl(fd, FIFREEZE, NULL), "freeze");
	close(fd);
}

static const struct operation {
	const char *name;
	int words;
	void (*run)(char **word);
} operations[] = {
	{ "write", 3, op_write },
	{ "scatter", 3, op_scatter },
	{ "buffered", 3, op_buffered },
	{ "noise", 4, op_noise },
	{ "clone", 5, op_clone },
	{ "truncate", 2, op_truncate },
	{ "punch", 3, op_punch },
	{ "fallocate", 3, op_fallocate },
	{ "unlink", 1, op_unlink },
	{ "mkdir", 1, op_mkdir },
	{ "many", 3, op_many },
	{ "fsync", 1, op_fsync },
	{ "simple-quota", 0, op_simple_quota },
	{ "delete", 1, op_delete },
	{ "sleep", 1, op_sleep },
	{ "freeze", 0, op_freeze },
};

static void run_line(char *line)
{
	char *word[MAX_WORDS];
	int words = 0;

	for (char *save, *w = strtok_r(line, " \t\n", &save); w;
	     w = strtok_r(NULL, " \t\n", &save)) {
		if (*w == '#')
			break;
		if (words == MAX_WORDS)
			fail("too many words", 0);
		word[words++] = w;
	}
	if (!words)
		return;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(operations[i].name, word[0]))
			continue;
		if (operations[i].words != words - 1)
			fail("wrong number of words", 0);
		operations[i].run(word + 1);
		return;
	}
	fail("unknown operation", 0);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: fileops DIR < LINES\n");
		return 2;
	}
	if (chdir(argv[1])) {
		fprintf(stderr, "fileops: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	while (getline(&line, &size, stdin) > 0) {
		line_number++;
		run_line(line);
	}
	free(line);
	return 0;
}
