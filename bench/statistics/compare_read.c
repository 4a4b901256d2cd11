/* SPDX-License-Identifier: MIT */
#include "bench/statistics/compare_read.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"

#define NOTE_MAX 512
#define NAME_MAX_BYTES 64

/* Escapes all that is not plain: the text may go to a terminal. */
#define DUMP (JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)

static const char schema[] = "refstorm.bench.v1";

static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t length = strlen(text);

	return length && length <= NAME_MAX_BYTES && strspn(text, letters) == length;
}

static bool is_amount(const json_t *value)
{
	double number = json_number_value(value);

	return json_is_number(value) && isfinite(number) && number >= 0;
}

static int check_metric(const char *name, const json_t *metric, struct rs_error *error)
{
	static const char *const figures[] = { "median", "low", "high" };
	const json_t *samples = json_object_get(metric, "samples");

	if (!is_name(name))
		return error_set(error, -EINVAL, "the name of a metric is no name");
	if (json_is_null(metric))
		return 0;
	if (!json_is_array(samples) || !json_array_size(samples))
		return error_set(error, -EINVAL, "metric %s: no samples", name);
	if (json_array_size(samples) > COMPARE_SAMPLES_MAX)
		return error_set(error, -EINVAL, "metric %s: %zu samples; the most is %d", name,
				 json_array_size(samples), COMPARE_SAMPLES_MAX);
	for (size_t at = 0; at < json_array_size(samples); at++)
		if (!is_amount(json_array_get(samples, at)))
			return error_set(error, -EINVAL,
					 "metric %s: sample %zu is no number from 0 on", name, at);
	for (size_t at = 0; at < sizeof(figures) / sizeof(figures[0]); at++) {
		const json_t *figure = json_object_get(metric, figures[at]);

		if (figure && !is_amount(figure))
			return error_set(error, -EINVAL, "metric %s: %s is no number from 0 on",
					 name, figures[at]);
	}
	return 0;
}

static int check_text(const json_t *point, const char *key, bool needed, struct rs_error *error)
{
	const json_t *value = json_object_get(point, key);

	if (!needed && (!value || json_is_null(value)))
		return 0;
	if (!json_is_string(value) || !is_name(json_string_value(value)))
		return error_set(error, -EINVAL, "%s is no name", key);
	return 0;
}

static int check_count(const json_t *point, const char *key, json_int_t least,
		       struct rs_error *error)
{
	const json_t *value = json_object_get(point, key);

	if (!json_is_integer(value) || json_integer_value(value) < least)
		return error_set(error, -EINVAL, "%s is no whole number from %d on", key,
				 (int)least);
	return 0;
}

static bool has_failed(const json_t *point)
{
	const json_t *failed = json_object_get(point, "failed");

	return failed && !json_is_null(failed);
}

static int check_point(const json_t *point, struct rs_error *error)
{
	json_t *metrics = json_object_get(point, "metrics");
	const json_t *params = json_object_get(point, "params");
	const json_t *metric;
	const char *name;
	int ret;

	if (!json_is_object(point))
		return error_set(error, -EINVAL, "is no object");
	if ((ret = check_text(point, "workload", true, error)) ||
	    (ret = check_text(point, "engine", false, error)) ||
	    (ret = check_text(point, "record", false, error)) ||
	    (ret = check_count(point, "threads", 1, error)) ||
	    (ret = check_count(point, "snapshots", 0, error)))
		return ret;
	if (params && !json_is_object(params))
		return error_set(error, -EINVAL, "params is no object");
	if (has_failed(point))
		return 0;
	if (!json_is_object(metrics))
		return error_set(error, -EINVAL, "has no metrics");
	json_object_foreach(metrics, name, metric)
	{
		ret = check_metric(name, metric, error);
		if (ret)
			return ret;
	}
	return 0;
}

int compare_read_check(const json_t *document, struct rs_error *error)
{
	const char *found = json_string_value(json_object_get(document, "schema"));
	const json_t *points = json_object_get(document, "points");

	if (!found || strcmp(found, schema))
		return error_set(error, -EINVAL, "is no result of refstorm bench (schema %s)",
				 schema);
	if (!json_is_array(points))
		return error_set(error, -EINVAL, "has no points");
	if (json_array_size(points) > COMPARE_POINTS_MAX)
		return error_set(error, -EINVAL, "%zu points; the most is %d",
				 json_array_size(points), COMPARE_POINTS_MAX);
	for (size_t at = 0; at < json_array_size(points); at++) {
		int ret = check_point(json_array_get(points, at), error);

		if (ret) {
			error_add_place(error, "points[%zu]", at);
			return ret;
		}
	}
	return 0;
}

int compare_read_note(json_t *texts, const char *format, ...)
{
	char text[NOTE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* Cut where it is too long, and what is not UTF-8 (a file's name may be so) replaced. */
	for (char *letter = text; *letter; letter++)
		if ((unsigned char)*letter >= 0x80 || (unsigned char)*letter < 0x20)
			*letter = '?';
	return json_array_append_new(texts, json_string(text)) ? -ENOMEM : 0;
}

/* A copy of `params` without what is not to tell points apart. */
static json_t *telling_params(const json_t *point)
{
	const json_t *given = json_object_get(point, "params");
	json_t *params = given ? json_copy((json_t *)given) : json_object();

	json_object_del(params, "seed");
	json_object_del(params, "seconds");
	return params;
}

char *compare_read_params(const json_t *point)
{
	json_t *params = telling_params(point);
	char *text = params ? json_dumps(params, DUMP) : NULL;

	json_decref(params);
	return text;
}

static char *make_key(const json_t *point)
{
	static const char *const parts[] = { "workload", "engine", "record", "threads",
					     "snapshots" };
	json_t *key = json_array();
	char *text = NULL;
	int ret = key ? 0 : -1;

	for (size_t at = 0; !ret && at < sizeof(parts) / sizeof(parts[0]); at++) {
		json_t *part = json_object_get(point, parts[at]);

		ret = json_array_append_new(key, part ? json_incref(part) : json_null());
	}
	if (!ret)
		ret = json_array_append_new(key, telling_params(point));
	if (!ret)
		text = json_dumps(key, DUMP);
	json_decref(key);
	return text;
}

static int add_point(json_t *index, const json_t *point, size_t at, const char *name,
		     json_t *warnings, struct rs_error *error)
{
	char *key = make_key(point);
	int ret = 0;

	if (!key)
		ret = -ENOMEM;
	else if (has_failed(point))
		ret = compare_read_note(warnings, "%s: the point %s failed, and is left out", name,
					key);
	else if (json_object_get(index, key))
		ret = error_set(error, -EINVAL, "the point %s is there twice", key);
	else if (json_object_set_new(index, key, json_integer((json_int_t)at)))
		ret = -ENOMEM;
	free(key);
	return ret == -ENOMEM ? error_no_memory(error, "points") : ret;
}

int compare_read_index(const json_t *document, const char *name, json_t *warnings, json_t **index,
		       struct rs_error *error)
{
	const json_t *points = json_object_get(document, "points");
	int ret = 0;

	*index = json_object();
	if (!*index)
		return error_no_memory(error, "points");
	for (size_t at = 0; !ret && at < json_array_size(points); at++)
		ret = add_point(*index, json_array_get(points, at), at, name, warnings, error);
	if (ret) {
		json_decref(*index);
		*index = NULL;
		error_add_place(error, "%s", name);
	}
	return ret;
}

static int note_difference(const json_t *a, const json_t *b, const char *key,
			   const struct compare_options *options, json_t *warnings)
{
	json_t *one = json_object_get(a, key);
	json_t *other = json_object_get(b, key);
	char *one_text;
	char *other_text;
	int ret = -ENOMEM;

	if (one == other || (one && other && json_equal(one, other)))
		return 0;
	one_text = one ? json_dumps(one, DUMP) : strdup("nothing");
	other_text = other ? json_dumps(other, DUMP) : strdup("nothing");
	if (one_text && other_text)
		ret = compare_read_note(warnings, "%s differs: %.80s in %s, %.80s in %s", key,
					one_text, options->a_name, other_text, options->b_name);
	free(one_text);
	free(other_text);
	return ret;
}

/* Not the commit and version, which are mostly why one compares; nor what is of the day. */
int compare_read_runs(const json_t *a, const json_t *b, const struct compare_options *options,
		      json_t *warnings)
{
	static const char *const keys[] = { "machine",  "cpu",   "topology", "cpus",    "kernel",
					    "governor", "clock", "memory",   "virtual", "build" };
	const json_t *const documents[] = { a, b };
	const char *const names[] = { options->a_name, options->b_name };
	bool recorded = true;
	int ret = 0;

	for (size_t at = 0; !ret && at < 2; at++) {
		if (json_is_true(json_object_get(documents[at], "partial")))
			ret = compare_read_note(warnings, "%s is partial: its run was cut short",
						names[at]);
		if (!ret && !json_is_object(json_object_get(documents[at], "run"))) {
			recorded = false;
			ret = compare_read_note(warnings, "%s does not say what it was measured on",
						names[at]);
		}
	}
	for (size_t at = 0; !ret && recorded && at < sizeof(keys) / sizeof(keys[0]); at++)
		ret = note_difference(json_object_get(a, "run"), json_object_get(b, "run"),
				      keys[at], options, warnings);
	return ret;
}

const json_t *compare_read_samples(const json_t *point, const char *metric)
{
	return json_object_get(json_object_get(json_object_get(point, "metrics"), metric),
			       "samples");
}
