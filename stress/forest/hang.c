/* SPDX-License-Identifier: MIT */
#include "stress/forest/hang.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "stress/forest/stacks.h"

#define ANSWER_TRIES 200 /* milliseconds */

void hang_begin(struct hang *hang)
{
	*hang = (struct hang){ .since_ns = clock_now_ns() };
}

bool hang_look(struct hang *hang, const struct board *board, double seconds)
{
	uint64_t progress = board_progress(board);
	uint64_t now = clock_now_ns();

	if (progress != hang->seen) {
		hang->seen = progress;
		hang->since_ns = now;
	}
	return (double)(now - hang->since_ns) / 1e9 > seconds;
}

/* A line of /proc of the thread; empty if there is none. */
static void read_proc(pid_t process, long thread, const char *name, char *text, size_t bytes)
{
	char path[96];
	FILE *file;

	text[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%ld/%s", (int)process, thread, name);
	file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(text, (int)bytes, file))
		text[0] = 0;
	text[strcspn(text, "\n")] = 0;
	fclose(file);
}

/* R, S, D, T: what the thread does. */
static char state_of(pid_t process, long thread)
{
	char text[256];
	const char *name_end;

	read_proc(process, thread, "stat", text, sizeof(text));
	name_end = strrchr(text, ')');
	return name_end && name_end[1] ? name_end[2] : '?';
}

static void wait_answer(const struct board *board, uint32_t before)
{
	const struct timespec tick = { .tv_nsec = 1000000 };
	int tries;

	/* Relaxed: it moves. */
	for (tries = 0; tries < ANSWER_TRIES && order_load_relaxed(&board->stacks) == before;
	     tries++)
		nanosleep(&tick, NULL);
}

static void describe_thread(pid_t process, long thread, const struct board *board, int fd)
{
	char state = state_of(process, thread);
	/* Relaxed: as above. */
	uint32_t before = order_load_relaxed(&board->stacks);
	char name[64];
	char where[128];

	read_proc(process, thread, "comm", name, sizeof(name));
	read_proc(process, thread, "wchan", where, sizeof(where));
	dprintf(fd, "\nthread %ld (%s), state %c, in the kernel: %s\n", thread, name, state, where);
	/* What is stopped does not answer. */
	if (state != 'T' && state != 't' && !syscall(SYS_tgkill, process, thread, STACKS_SIGNAL))
		wait_answer(board, before);
	if (order_load_relaxed(&board->stacks) == before)
		dprintf(fd, "thread %ld does not answer\n", thread);
}

void hang_describe(pid_t process, const struct board *board, int fd)
{
	const char *doing = order_load_relaxed(&board->doing); /* relaxed: see board.h */
	struct dirent *entry;
	char path[64];
	DIR *threads;

	dprintf(fd, "\nnothing moves; the round: %s\n", doing ? doing : "has not begun");
	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	threads = opendir(path);
	if (!threads)
		return;
	while ((entry = readdir(threads)))
		if (entry->d_name[0] != '.')
			describe_thread(process, strtol(entry->d_name, NULL, 10), board, fd);
	closedir(threads);
}
