/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/profile/flame.h"
#include "bench/profile/fold.h"
#include "core/base/alloc.h"

/* Of all frames of that name. */
static uint64_t weight_of(const struct fold *fold, const char *name)
{
	uint64_t sum = 0;

	for (size_t at = 0; at < fold_frames(fold); at++)
		if (!strcmp(fold_name(fold, fold_frame(fold, (uint32_t)at)->name), name))
			sum += fold_frame(fold, (uint32_t)at)->weight;
	return sum;
}

static int read_text(struct fold *fold, const char *text, bool off, uint64_t every,
		     uint64_t *samples)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int result;

	assert_non_null(file);
	result = off ? fold_read_switches(fold, file, every, 99, samples) :
		       fold_read_samples(fold, file, samples);
	fclose(file);
	return result;
}

static const char on_cpu[] = "  10/11 5.000000001: cpu-clock: \n"
			     "\t            1274 inner (/tmp/a b/prog)\n"
			     "\t           891f4 outer (/tmp/a b/prog)\n"
			     "\t          1098eb clone3@@GLIBC_2.34 (/usr/lib/libc.so.6)\n"
			     "\n"
			     "  10/12 5.000000002: cpu-clock:u: \n"
			     "\tffffffff813a4413 schedule ([kernel.kallsyms])\n"
			     "\t           891f4 outer (/tmp/a b/prog)\n"
			     "\t          1098eb clone3@@GLIBC_2.34 (/usr/lib/libc.so.6)\n"
			     "\n"
			     "a line of something else\n"
			     "  10/12 5.000000003: PERF_RECORD_LOST lost 5\n"
			     "  10/12 5.000000004: cpu-clock: \n"
			     "\t            4444 [unknown] (/opt/libstrange.so)\n"
			     "\t            5555 call(void (*)(int), int) (/tmp/prog (deleted))\n"
			     "\tno address\n"
			     "\n"
			     "  10/12 5.000000005: cpu-clock: \n"
			     "\n";

static void fold_reads_samples(void **state)
{
	struct fold *fold = fold_create();
	struct fold_share top[4];
	uint64_t samples;

	(void)state;
	assert_non_null(fold);
	assert_int_equal(read_text(fold, on_cpu, false, 0, &samples), 0);
	/* The last one had no stack. */
	assert_true(samples == 3);
	assert_true(fold_frame(fold, 0)->weight == 3);
	assert_true(weight_of(fold, "clone3") == 2);
	assert_true(weight_of(fold, "outer") == 2);
	assert_true(weight_of(fold, "inner") == 1);
	assert_true(weight_of(fold, "schedule_[k]") == 1);
	assert_true(weight_of(fold, "[libstrange.so]") == 1);
	assert_true(weight_of(fold, "call(void (*)(int), int)") == 1);
	/* all, clone3, outer, inner, schedule, call, [libstrange.so]: a stack that comes again adds none. */
	assert_true(fold_frames(fold) == 7);
	assert_int_equal(read_text(fold, on_cpu, false, 0, &samples), 0);
	assert_true(fold_frames(fold) == 7);
	assert_true(weight_of(fold, "inner") == 2);

	/* Of the program: outer in place of the kernel, call in place of the library. */
	assert_int_equal(fold_top(fold, true, top, 4), 3);
	assert_int_equal(fold_top(fold, true, top, 1), 1);
	assert_true(top[0].weight == 2);
	assert_int_equal(fold_top(fold, false, top, 4), 3);
	fold_destroy(fold);
}

/* Thread 11 waits for 700 ns, is preempted, and waits with no stack; 12 does not come back; 99 is not wanted. */
static const char off_cpu[] = "  10/11 7.000000100: context-switches: \n"
			      "\tffffffff813a4413 schedule ([kernel.kallsyms])\n"
			      "\t           891f4 waits (/tmp/prog)\n"
			      "\n"
			      "  10/11 7.000000100: PERF_RECORD_SWITCH OUT          \n"
			      "  10/12 7.000000110: context-switches: \n"
			      "\t           891f4 leaves (/tmp/prog)\n"
			      "\n"
			      "  10/12 7.000000120: PERF_RECORD_SWITCH OUT          \n"
			      "  10/11 7.000000800: PERF_RECORD_SWITCH IN           \n"
			      "  10/11 7.000000900: context-switches: \n"
			      "\t           891f4 runs (/tmp/prog)\n"
			      "\n"
			      "  10/11 7.000000900: PERF_RECORD_SWITCH OUT preempt\n"
			      "  10/11 8.000000000: PERF_RECORD_SWITCH IN           \n"
			      "  10/11 8.000000010: PERF_RECORD_SWITCH OUT          \n"
			      "  10/11 9.000000000: PERF_RECORD_SWITCH IN           \n"
			      "  10/99 9.000000000: context-switches: \n"
			      "\t           891f4 rests (/tmp/prog)\n"
			      "\n"
			      "  10/99 9.000000000: PERF_RECORD_SWITCH OUT          \n"
			      "  10/99 9.000000001: PERF_RECORD_SWITCH IN           \n";

static void fold_reads_switches(void **state)
{
	struct fold *fold = fold_create();
	struct fold_share top[4];
	uint64_t samples;

	(void)state;
	assert_non_null(fold);
	assert_int_equal(read_text(fold, off_cpu, true, 3, &samples), 0);
	assert_true(samples == 1);
	assert_true(weight_of(fold, "waits") == 2100);
	assert_true(weight_of(fold, "leaves") == 0);
	assert_true(weight_of(fold, "runs") == 0);
	assert_true(weight_of(fold, "rests") == 0);
	assert_int_equal(fold_top(fold, true, top, 4), 1);
	assert_string_equal(top[0].name, "waits");
	fold_destroy(fold);
}

static void fold_wants_memory(void **state)
{
	bool done = false;

	(void)state;
	for (uint64_t nth = 1; !done; nth++) {
		struct fold *fold;
		uint64_t samples;
		int result;

		assert_true(nth < 1000);
		alloc_fail_arm(nth, 0);
		fold = fold_create();
		result = fold ? read_text(fold, off_cpu, true, 1, &samples) : -ENOMEM;
		if (!result)
			result = read_text(fold, on_cpu, false, 0, &samples);
		done = !alloc_fail_count();
		alloc_fail_arm(0, 0);
		assert_int_equal(result, done ? 0 : -ENOMEM);
		fold_destroy(fold);
	}
}

static char *drawn(const struct fold *fold, const struct flame_options *options)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	assert_non_null(file);
	assert_true(flame_write(file, fold, options));
	fclose(file);
	return text;
}

static void add(struct fold *fold, const char *outer, const char *inner, uint64_t weight)
{
	const struct fold_function stack[] = { { inner, FOLD_PROGRAM }, { outer, FOLD_PROGRAM } };

	assert_int_equal(fold_add(fold, stack, 2, weight), 0);
}

static size_t count_of(const char *text, const char *what)
{
	size_t count = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		count++;
	return count;
}

/* What stands between `before`, which is looked for behind `from`, and the next quote. */
static double number_behind(const char *from, const char *before)
{
	const char *found = from ? strstr(from, before) : NULL;

	assert_non_null(found);
	return strtod(found + strlen(before), NULL);
}

static void flame_draws(void **state)
{
	const struct flame_options options = { "what <is> \"drawn\" & why", "about",
					       FLAME_SAMPLES };
	struct fold *fold = fold_create();
	char name[32];
	char *text;
	const char *wide;

	(void)state;
	assert_non_null(fold);
	add(fold, "outer", "std::vector<int>::at", 600000);
	add(fold, "outer", "other", 300000);
	add(fold, "tail", "leaf", 99000);
	/* Too narrow each, but not all together. */
	for (int at = 0; at < 100; at++) {
		snprintf(name, sizeof(name), "small-%d", at);
		add(fold, "tail", name, 10);
	}
	text = drawn(fold, &options);
	assert_int_equal(count_of(text, "<svg"), 1);
	assert_int_equal(count_of(text, "</svg>"), 1);
	assert_int_equal(count_of(text, "<script"), 0);
	assert_int_equal(count_of(text, "http"), 1); /* the name of SVG itself */
	assert_int_equal(count_of(text, "prefers-color-scheme:dark"), 1);
	assert_non_null(strstr(text, "<title>what &lt;is&gt; &quot;drawn&quot; &amp; why</title>"));
	assert_non_null(strstr(text, "width=\"1200\""));

	wide = strstr(text, "<title>std::vector&lt;int&gt;::at (600000 samples, 60.00 %)</title>");
	assert_non_null(wide);
	/* 60 % of what is between the margins, from the left one. */
	assert_true(number_behind(wide, " x=\"") == 10.0);
	assert_true(number_behind(wide, " width=\"") > 707.0);
	assert_true(number_behind(wide, " width=\"") <= 708.0);
	/* Callees stand above their callers. */
	assert_true(number_behind(wide, " y=\"") <
		    number_behind(strstr(text, "<title>outer ("), " y=\""));
	assert_non_null(
		strstr(text, "<title>100 functions, each too narrow to be drawn (1000 samp"));
	assert_null(strstr(text, "small-"));
	free(text);
	fold_destroy(fold);
}

/* The class of the frame with this name. */
static void colour_in(const struct fold *fold, const char *name, char *colour)
{
	char *text = drawn(fold, &(struct flame_options){ "t", NULL, FLAME_NS });
	char title[64];
	const char *found;

	snprintf(title, sizeof(title), "<title>%s (", name);
	found = strstr(text, title);
	assert_non_null(found);
	assert_int_equal(sscanf(strstr(found, "class="), "class=\"%15[^\"]", colour), 1);
	free(text);
}

static void flame_colours_stay(void **state)
{
	struct fold *one = fold_create();
	struct fold *other = fold_create();
	char colours[3][16];

	(void)state;
	assert_non_null(one);
	assert_non_null(other);
	add(one, "outer", "inner", 5);
	add(other, "else", "another", 50);
	add(other, "inner", "outer", 7);
	colour_in(one, "inner", colours[0]);
	colour_in(other, "inner", colours[1]);
	colour_in(one, "outer", colours[2]);
	assert_string_equal(colours[0], colours[1]);
	assert_string_not_equal(colours[0], colours[2]);
	fold_destroy(one);
	fold_destroy(other);
}

static void flame_of_nothing(void **state)
{
	struct fold *fold = fold_create();
	char *text;

	(void)state;
	assert_non_null(fold);
	text = drawn(fold, &(struct flame_options){ "empty", NULL, FLAME_NS });
	assert_non_null(strstr(text, "Nothing was sampled."));
	assert_int_equal(count_of(text, "</svg>"), 1);
	free(text);
	fold_destroy(fold);
}

/* Deeper than is kept: the innermost functions stay. */
static void fold_cuts_depth(void **state)
{
	enum {
		DEEP = FOLD_DEPTH_MAX + 50
	};
	struct fold_function stack[DEEP];
	char names[DEEP][16];
	struct fold *fold = fold_create();

	(void)state;
	assert_non_null(fold);
	for (unsigned at = 0; at < DEEP; at++) {
		snprintf(names[at], sizeof(names[at]), "f%u", at);
		stack[at] = (struct fold_function){ names[at], FOLD_PROGRAM };
	}
	assert_int_equal(fold_add(fold, stack, DEEP, 4), 0);
	assert_true(fold_frames(fold) == FOLD_DEPTH_MAX + 1);
	assert_true(weight_of(fold, "f0") == 4);
	assert_true(weight_of(fold, names[DEEP - 1]) == 0);
	fold_destroy(fold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fold_reads_samples), cmocka_unit_test(fold_reads_switches),
		cmocka_unit_test(fold_wants_memory),  cmocka_unit_test(fold_cuts_depth),
		cmocka_unit_test(flame_draws),        cmocka_unit_test(flame_colours_stay),
		cmocka_unit_test(flame_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
