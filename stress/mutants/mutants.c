/* SPDX-License-Identifier: MIT */
#include "stress/mutants/mutants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

static bool mutants_asked_for(const struct plant *plant, const struct mutants_options *options)
{
	return plant->kind == PLANT_BUG &&
	       (!options->only || !regexec(options->only, plant->name, 0, NULL, 0));
}

static bool mutants_can_tell(const struct mutants_build *build, const struct plant *plant)
{
	return !strstr(plant->caught_by, build->tsan ? "not tsan" : "tsan only");
}

/* The first file of the command that is not there; NULL if all are. */
static const char *mutants_missing(const struct mutants_check *check)
{
	size_t at;

	for (at = 0; check->command[at]; at++)
		if (check->command[at][0] == '/' && access(check->command[at], F_OK))
			return check->command[at];
	return NULL;
}

static struct mutants_check *mutants_check_find(const struct mutants_build *build,
						const struct plant *plant, struct rs_error *error)
{
	int bytes = (int)strcspn(plant->caught_by, " ");
	const char *missing;
	size_t at;

	for (at = 0; at < build->check_count; at++) {
		struct mutants_check *check = &build->checks[at];

		if (strncmp(check->name, plant->caught_by, (size_t)bytes) || check->name[bytes])
			continue;
		missing = check->command ? mutants_missing(check) : check->name;
		if (!missing)
			return check;
		error_set(error, -ENOENT, "%s is not there: build it with ninja -C %s", missing,
			  build->path);
		return NULL;
	}
	error_set(error, -ENOENT, "%s: this build has no test %.*s, which must catch %s",
		  build->path, bytes, plant->caught_by, plant->name);
	return NULL;
}

/* Enters the bug for each build that can tell. */
static int mutants_enter(struct mutants *mutants, const struct plant *plant,
			 struct mutants_build *builds, size_t build_count, struct rs_error *error)
{
	bool told = false;
	size_t at;

	for (at = 0; at < build_count; at++) {
		struct mutant *mutant = &mutants->all[mutants->count];

		if (!mutants_can_tell(&builds[at], plant))
			continue;
		told = true;
		mutant->plant = plant;
		mutant->build = &builds[at];
		mutant->check = mutants_check_find(&builds[at], plant, error);
		if (!mutant->check)
			return -ENOENT;
		mutant->check->wanted = true;
		mutant->times_s = mutants->times_s + mutants->count * mutants->repeat;
		mutants->count++;
	}
	mutants->plants += told;
	mutants->left_out += !told;
	return 0;
}

int mutants_create(struct mutants *mutants, struct mutants_build *builds, size_t build_count,
		   const struct mutants_options *options, struct rs_error *error)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	size_t at;
	int ret = 0;

	*mutants = (struct mutants){ .repeat = options->repeat };
	mutants->all = alloc_zeroed(count * build_count, sizeof(*mutants->all));
	mutants->times_s =
		alloc_zeroed(count * build_count, options->repeat * sizeof(*mutants->times_s));
	if (!mutants->all || !mutants->times_s)
		return error_no_memory(error, "the list of mutants");
	for (at = 0; at < count && !ret; at++)
		if (mutants_asked_for(&table[at], options))
			ret = mutants_enter(mutants, &table[at], builds, build_count, error);
	if (!ret && !mutants->plants && !mutants->left_out)
		ret = error_set(error, -ENOENT, "no planted bug has a name like that");
	return ret;
}

void mutants_destroy(struct mutants *mutants)
{
	alloc_free(mutants->all);
	alloc_free(mutants->times_s);
	*mutants = (struct mutants){ 0 };
}

static int mutants_compare_numbers(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of `count` numbers, at least one, from the least on. */
static double mutants_median(const double *numbers, size_t count)
{
	return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}

void mutants_sum(const struct mutants *mutants, struct mutants_summary *summary)
{
	double low = 0;
	size_t at;

	*summary = (struct mutants_summary){ 0 };
	for (at = 0; at < mutants->count; at++) {
		const struct mutant *mutant = &mutants->all[at];

		summary->no_control += mutant->state == MUTANT_NO_CONTROL;
		summary->run += mutant->state != MUTANT_NOT_RUN &&
				mutant->state != MUTANT_NO_CONTROL;
		if (mutant->state != MUTANT_CAUGHT)
			continue;
		summary->caught++;
		summary->slow += mutant->time_s_max > MUTANTS_SLOW_S;
		if (!summary->slowest || mutant->time_s_max > summary->slowest->time_s_max)
			summary->slowest = mutant;
	}
	/* The caught ones come first, from the quickest on. */
	if (!summary->caught)
		return;
	low = mutants->all[(summary->caught - 1) / 2].median_s;
	summary->median_s = (low + mutants->all[summary->caught / 2].median_s) / 2;
}

static void mutants_time(struct mutant *mutant)
{
	if (!mutant->caught)
		return;
	qsort(mutant->times_s, mutant->caught, sizeof(*mutant->times_s), mutants_compare_numbers);
	mutant->median_s = mutants_median(mutant->times_s, mutant->caught);
	mutant->time_s_max = mutant->times_s[mutant->caught - 1];
}

static int mutants_compare(const void *a, const void *b)
{
	const struct mutant *x = a;
	const struct mutant *y = b;
	bool x_caught = x->state == MUTANT_CAUGHT;
	bool y_caught = y->state == MUTANT_CAUGHT;

	if (x_caught != y_caught)
		return x_caught ? -1 : 1;
	if (x_caught && x->median_s != y->median_s)
		return x->median_s < y->median_s ? -1 : 1;
	return strcmp(x->plant->name, y->plant->name);
}

void mutants_sort(struct mutants *mutants)
{
	size_t at;

	for (at = 0; at < mutants->count; at++)
		mutants_time(&mutants->all[at]);
	qsort(mutants->all, mutants->count, sizeof(*mutants->all), mutants_compare);
}
