/* SPDX-License-Identifier: MIT */
/*
 * Fills files, or overwrites 4 KiB at random places in them. Every write is one O_DIRECT write, so
 * on btrfs it makes one new extent; buffered neighbours would become one.
 *
 *   overwrite fill DIR FILES FILE_KIB EXTENT_KIB
 *   overwrite random DIR FILES FILE_KIB WRITES SEED
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096u

static void *blocks; /* zeros, one write's worth */

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "overwrite: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > max) {
		fprintf(stderr, "overwrite: bad number '%s'\n", text);
		exit(2);
	}
	return n;
}

/* splitmix64: small, and the same sequence everywhere. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int open_file(const char *dir, uint64_t index, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/f%" PRIu64, dir, index);
	fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC | flags, 0644);
	if (fd < 0)
		fail("cannot open", path);
	return fd;
}

static void write_blocks(int fd, uint64_t index, uint64_t count)
{
	if (pwrite(fd, blocks, count * BLOCK, (off_t)(index * BLOCK)) != (ssize_t)(count * BLOCK))
		fail("cannot write blocks in", "a file");
}

static void fill(const char *dir, uint64_t files, uint64_t file_blocks, uint64_t extent_blocks)
{
	for (uint64_t f = 0; f < files; f++) {
		int fd = open_file(dir, f, O_CREAT);

		for (uint64_t b = 0; b < file_blocks; b += extent_blocks)
			write_blocks(fd, b,
				     extent_blocks < file_blocks - b ? extent_blocks :
								       file_blocks - b);
		close(fd);
	}
}

static void overwrite(const char *dir, uint64_t files, uint64_t file_blocks, uint64_t writes,
		      uint64_t seed)
{
	for (uint64_t i = 0; i < writes; i++) {
		int fd = open_file(dir, next_random(&seed) % files, 0);

		write_blocks(fd, next_random(&seed) % file_blocks, 1);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	uint64_t files, file_blocks, extent_blocks = 1;
	bool filling = argc == 6 && !strcmp(argv[1], "fill");

	if (!filling && !(argc == 7 && !strcmp(argv[1], "random"))) {
		fprintf(stderr, "usage: overwrite fill DIR FILES FILE_KIB EXTENT_KIB\n"
				"       overwrite random DIR FILES FILE_KIB WRITES SEED\n");
		return 2;
	}
	files = number(argv[3], 1u << 20);
	file_blocks = number(argv[4], 1u << 30) * 1024 / BLOCK;
	if (filling)
		extent_blocks = number(argv[5], 1u << 17) * 1024 / BLOCK;
	if (!files || !file_blocks || !extent_blocks) {
		fprintf(stderr, "overwrite: needs a file and a block of 4 KiB at least\n");
		return 2;
	}
	if (posix_memalign(&blocks, BLOCK, extent_blocks * BLOCK)) {
		fprintf(stderr, "overwrite: out of memory\n");
		return 1;
	}
	memset(blocks, 0, extent_blocks * BLOCK);
	if (filling)
		fill(argv[2], files, file_blocks, extent_blocks);
	else
		overwrite(argv[2], files, file_blocks, number(argv[5], UINT32_MAX),
			  number(argv[6], UINT64_MAX));
	return 0;
}
