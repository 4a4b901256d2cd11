// SPDX-License-Identifier: MIT
/*
 * perf's text. A sample is a line `PID/TID SECONDS.NANOSECONDS: EVENT:`, a line `ADDRESS FUNCTION (FILE)` for each
 * function, the innermost first, and an empty one. A switch is a line `PID/TID TIME: PERF_RECORD_SWITCH OUT [preempt]`
 * or `... IN`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/profile/fold.h"
#include "core/base/alloc.h"
#include "core/base/array.h"

/* A thread that is, or was, switched away with a sample. */
struct fold_thread {
	uint32_t tid;
	bool sampled; /* the stack is that of the switch under way */
	bool out;
	uint64_t since_ns;
	size_t depth;
	struct fold_function *stack;
};

struct fold_reader {
	struct fold *fold;
	FILE *from;
	char *line; /* getline's */
	size_t line_bytes;
	uint64_t every; /* 0: samples on CPUs */
	uint32_t besides;
	uint64_t samples;
	struct fold_thread *threads;
	size_t thread_count;
	size_t thread_capacity;
	/* The sample that is being read. */
	bool reading;
	uint32_t tid;
	uint64_t time_ns;
	size_t depth;
	struct fold_function stack[FOLD_DEPTH_MAX];
};

static void fold_stack_clear(struct fold_function *stack, size_t *depth)
{
	while (*depth)
		alloc_free((char *)(uintptr_t)stack[--*depth].name);
}

/* Where `(FILE)` begins at the end of the line; NULL: there is none. */
static char *fold_line_file(char *text)
{
	char *found = NULL;
	char *at;

	for (at = strstr(text, " ("); at; at = strstr(at + 1, " ("))
		if (!found || at[2] == '/' || at[2] == '[')
			found = at;
	return found;
}

static enum fold_owner fold_owner_of(uint64_t address, const char *file)
{
	if (address >> 63)
		return FOLD_KERNEL;
	if (!file || strstr(file, ".so") || strstr(file, "[vdso]"))
		return FOLD_LIBRARY;
	return FOLD_PROGRAM;
}

/* What is shown of a function: without its version, and of the kernel's with a mark. */
static char *fold_function_name(const char *symbol, const char *file, enum fold_owner owner)
{
	const char *slash = file ? strrchr(file, '/') : NULL;
	const char *place = slash ? slash + 1 : file;
	char text[256];
	int room = (int)strcspn(symbol, "@\n");

	if (!room || !strncmp(symbol, "[unknown]", 9))
		snprintf(text, sizeof(text), "[%.*s]", place ? (int)strcspn(place, ")]\n") : 7,
			 place ? place : "unknown");
	else
		snprintf(text, sizeof(text), "%.*s%s", room < 200 ? room : 200, symbol,
			 owner == FOLD_KERNEL ? "_[k]" : "");
	return alloc_string(text);
}

/* A line of a stack. Lines that are none, and functions too far out, count as read. */
static int fold_read_function(struct fold_reader *reader, char *line)
{
	char *symbol;
	uint64_t address = strtoull(line, &symbol, 16);
	char *file;
	enum fold_owner owner;
	char *name;

	if (symbol == line || *symbol != ' ' || reader->depth == FOLD_DEPTH_MAX)
		return 0;
	while (*symbol == ' ')
		symbol++;
	file = fold_line_file(symbol - 1);
	if (file) {
		*file = '\0';
		file += 2;
	}
	owner = fold_owner_of(address, file);
	name = fold_function_name(file && file - 2 < symbol ? "" : symbol, file, owner);
	if (!name)
		return -ENOMEM;
	reader->stack[reader->depth++] = (struct fold_function){ name, owner };
	return 0;
}

static struct fold_thread *fold_thread_get(struct fold_reader *reader, uint32_t tid)
{
	struct fold_thread *thread;
	size_t at;
	void *grown;

	for (at = 0; at < reader->thread_count; at++)
		if (reader->threads[at].tid == tid)
			return &reader->threads[at];
	grown = array_grow(reader->threads, reader->thread_count, 1, &reader->thread_capacity,
			   sizeof(*thread));
	if (!grown)
		return NULL;
	reader->threads = grown;
	thread = &reader->threads[reader->thread_count];
	*thread = (struct fold_thread){ .tid = tid };
	thread->stack = alloc_array(FOLD_DEPTH_MAX, sizeof(*thread->stack));
	if (!thread->stack)
		return NULL;
	reader->thread_count++;
	return thread;
}

/* The sample is whole. */
static int fold_sample_end(struct fold_reader *reader)
{
	struct fold_thread *thread;
	int result = 0;

	if (!reader->reading)
		return 0;
	reader->reading = false;
	if (!reader->every) {
		if (reader->depth)
			result = fold_add(reader->fold, reader->stack, reader->depth, 1);
		reader->samples += reader->depth && !result;
		fold_stack_clear(reader->stack, &reader->depth);
		return result;
	}
	thread = fold_thread_get(reader, reader->tid);
	if (!thread)
		return -ENOMEM;
	fold_stack_clear(thread->stack, &thread->depth);
	memcpy(thread->stack, reader->stack, reader->depth * sizeof(reader->stack[0]));
	thread->depth = reader->depth;
	reader->depth = 0;
	thread->sampled = thread->depth != 0;
	thread->out = false;
	return 0;
}

/* Switched out: the sample just before is of this. In: it is known how long. */
static int fold_switch(struct fold_reader *reader, const char *what)
{
	struct fold_thread *thread = fold_thread_get(reader, reader->tid);
	int result = 0;

	if (!thread)
		return -ENOMEM;
	if (!strncmp(what, "OUT", 3)) {
		thread->out = thread->sampled && !strstr(what, "preempt");
		thread->sampled = false;
		thread->since_ns = reader->time_ns;
		return 0;
	}
	if (thread->out && reader->tid != reader->besides && reader->time_ns > thread->since_ns) {
		result = fold_add(reader->fold, thread->stack, thread->depth,
				  (reader->time_ns - thread->since_ns) * reader->every);
		reader->samples += !result;
	}
	thread->out = false;
	thread->sampled = false;
	return result;
}

/* `PID/TID TIME: ` at the beginning. Returns what is behind it; NULL: the line is another. */
static const char *fold_read_head(struct fold_reader *reader, const char *line)
{
	uint64_t seconds;
	uint64_t ns;
	uint32_t tid;
	int used = 0;

	if (sscanf(line, " %*d/%" SCNu32 " %" SCNu64 ".%9" SCNu64 ": %n", &tid, &seconds, &ns,
		   &used) < 3 ||
	    !used)
		return NULL;
	reader->tid = tid;
	reader->time_ns = seconds * UINT64_C(1000000000) + ns;
	return line + used;
}

static int fold_read_line(struct fold_reader *reader, char *line)
{
	static const char mark[] = "PERF_RECORD_SWITCH ";
	const char *rest;
	int result;

	if (reader->reading && (*line == '\t' || line[strspn(line, " ")] == '\n')) {
		if (line[strspn(line, " \t")] != '\n')
			return fold_read_function(reader, line + 1);
		return fold_sample_end(reader);
	}
	result = fold_sample_end(reader);
	if (result)
		return result;
	rest = fold_read_head(reader, line);
	if (!rest)
		return 0;
	if (!strncmp(rest, mark, sizeof(mark) - 1))
		return reader->every ? fold_switch(reader, rest + sizeof(mark) - 1) : 0;
	/* Other records of perf's have no stack. */
	reader->reading = strncmp(rest, "PERF_RECORD_", 12) != 0;
	return 0;
}

static int fold_read(struct fold_reader *reader, uint64_t *samples)
{
	int result = 0;
	size_t at;

	while (!result && getline(&reader->line, &reader->line_bytes, reader->from) > 0)
		result = fold_read_line(reader, reader->line);
	if (!result)
		result = fold_sample_end(reader);
	if (!result && ferror(reader->from))
		result = -EIO;
	fold_stack_clear(reader->stack, &reader->depth);
	for (at = 0; at < reader->thread_count; at++) {
		fold_stack_clear(reader->threads[at].stack, &reader->threads[at].depth);
		alloc_free(reader->threads[at].stack);
	}
	alloc_free(reader->threads);
	free(reader->line);
	*samples = reader->samples;
	alloc_free(reader);
	return result;
}

static int fold_read_begin(struct fold *fold, FILE *from, uint64_t every, uint32_t besides,
			   uint64_t *samples)
{
	struct fold_reader *reader = alloc_zeroed(1, sizeof(*reader));

	*samples = 0;
	if (!reader)
		return -ENOMEM;
	reader->fold = fold;
	reader->from = from;
	reader->every = every;
	reader->besides = besides;
	return fold_read(reader, samples);
}

int fold_read_samples(struct fold *fold, FILE *from, uint64_t *samples)
{
	return fold_read_begin(fold, from, 0, 0, samples);
}

int fold_read_switches(struct fold *fold, FILE *from, uint64_t every, uint32_t besides,
		       uint64_t *samples)
{
	return fold_read_begin(fold, from, every ? every : 1, besides, samples);
}
