// SPDX-License-Identifier: MIT
#include "bench/report/input.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"

/* No result of this program comes near; what does is refused before it is read. */
#define FILE_MOST (64L << 20)

static const struct {
	const char *prefix;
	const char *schema;
} kinds[INPUT_KINDS] = {
	[INPUT_BENCH] = { "bench-", "refstorm.bench.v1" },
	[INPUT_STRESS] = { "stress-", "refstorm.stress.v1" },
	[INPUT_PROFILE] = { "profile-", "refstorm.profile.v1" },
	[INPUT_VERIFY] = { "verify-", "refstorm.verify.v1" },
};

double input_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *input_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

double input_metric(const struct input_point *point, const char *metric, const char *part)
{
	const json_t *metrics = json_object_get(point->json, "metrics");

	return point->failed ? NAN : input_number(json_object_get(metrics, metric), part);
}

/* Opened so that a pipe or a device by that name does not keep us waiting. */
static FILE *open_file(const struct input *input, const char *name, size_t *bytes,
		       struct rs_error *error)
{
	size_t length = strlen(input->folder) + strlen(name) + 2;
	char *path = alloc_array(length, 1);
	FILE *file = NULL;
	struct stat about;
	int fd;

	if (!path) {
		error_no_memory(error, name);
		return NULL;
	}
	snprintf(path, length, "%s/%s", input->folder, name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	alloc_free(path);
	if (fd < 0 || fstat(fd, &about))
		error_set(error, -errno, "cannot be read: %s", strerror(errno));
	else if (!S_ISREG(about.st_mode))
		error_set(error, -EINVAL, "is no regular file");
	else if (about.st_size > FILE_MOST)
		error_set(error, -EFBIG, "is larger than %ld MiB", FILE_MOST >> 20);
	else
		file = fdopen(fd, "r");
	if (!file && fd >= 0)
		close(fd);
	if (file)
		*bytes = (size_t)about.st_size;
	return file;
}

int input_named_file(const struct input *input, const char *name, char **text, size_t *bytes,
		     struct rs_error *error)
{
	FILE *file;
	size_t most;

	if (!*name || *name == '.' || strchr(name, '/'))
		return error_set(error, -EINVAL, "'%s' is no name of a file beside it", name);
	file = open_file(input, name, &most, error);
	if (!file) {
		error_add_place(error, "%s", name);
		return error->code;
	}
	*text = alloc_array(most + 1, 1);
	if (*text) {
		*bytes = fread(*text, 1, most, file);
		(*text)[*bytes] = 0;
	}
	fclose(file);
	return *text ? 0 : error_no_memory(error, name);
}

static bool is_count(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

/* Absent counts as null. */
static bool is_null_or(const json_t *value, json_type type)
{
	return !value || json_is_null(value) || json_typeof(value) == type;
}

/* What is wrong with a point, or NULL. */
static const char *point_fault(const json_t *json)
{
	if (!json_is_object(json))
		return "is no object";
	if (!input_string(json, "workload") || !input_string(json, "engine") ||
	    !input_string(json, "record"))
		return "lacks workload, engine or record";
	if (!is_count(json_object_get(json, "threads")) ||
	    !is_count(json_object_get(json, "snapshots")))
		return "lacks threads or snapshots";
	if (!is_null_or(json_object_get(json, "metrics"), JSON_OBJECT) ||
	    !is_null_or(json_object_get(json, "latency"), JSON_OBJECT) ||
	    !is_null_or(json_object_get(json, "locks"), JSON_ARRAY) ||
	    !is_null_or(json_object_get(json, "failed"), JSON_STRING))
		return "has metrics, latency, locks or failed of a wrong type";
	return NULL;
}

static int read_points(struct input_file *file, struct rs_error *error)
{
	const json_t *all = json_object_get(file->root, "points");
	size_t at, count = json_array_size(all);

	if (!json_is_array(all))
		return error_set(error, -EINVAL, "has no list of points");
	file->points = alloc_zeroed(count + 1, sizeof(*file->points));
	if (!file->points)
		return error_no_memory(error, "points");
	for (at = 0; at < count; at++) {
		const json_t *json = json_array_get(all, at);
		const char *fault = point_fault(json);

		if (fault)
			return error_set(error, -EINVAL, "points[%zu] %s", at, fault);
		file->points[at] = (struct input_point){
			.workload = input_string(json, "workload"),
			.engine = input_string(json, "engine"),
			.record = input_string(json, "record"),
			.failed = input_string(json, "failed"),
			.threads = input_number(json, "threads"),
			.snapshots = input_number(json, "snapshots"),
			.json = json,
		};
	}
	file->point_count = count;
	return 0;
}

/* Whole numbers above 2^63 are real ones to the library if it is told so, and else refused. */
static json_t *parse(FILE *from, json_error_t *fault)
{
	json_t *root = json_loadf(from, JSON_REJECT_DUPLICATES, fault);

	if (root || json_error_code(fault) != json_error_numeric_overflow)
		return root;
	rewind(from);
	return json_loadf(from, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, fault);
}

static void forget_file(struct input_file *file)
{
	alloc_free(file->name);
	alloc_free(file->points);
	json_decref(file->root);
	*file = (struct input_file){ 0 };
}

/* Into `file`, which is empty after an error. */
static int read_file(const struct input *input, const char *name, enum input_kind kind,
		     struct input_file *file, struct rs_error *error)
{
	json_error_t fault;
	const char *schema;
	size_t bytes;
	FILE *from = open_file(input, name, &bytes, error);
	int ret = 0;

	if (!from)
		return error->code;
	file->root = parse(from, &fault);
	fclose(from);
	schema = input_string(file->root, "schema");
	if (!bytes)
		ret = error_set(error, -EINVAL, "is empty");
	else if (!file->root)
		ret = error_set(error, -EINVAL, "line %d: is no JSON: %s", fault.line, fault.text);
	else if (!schema || strcmp(schema, kinds[kind].schema))
		ret = error_set(error, -EINVAL, "its schema is %.40s, not %s",
				schema ? schema : "missing", kinds[kind].schema);
	else if (kind == INPUT_BENCH)
		ret = read_points(file, error);
	if (!ret) {
		file->name = alloc_string(name);
		ret = file->name ? 0 : error_no_memory(error, name);
	}
	if (ret)
		forget_file(file);
	return ret;
}

static int refuse(struct input *input, const char *name, const struct rs_error *why,
		  size_t *capacity)
{
	struct input_refusal *room =
		array_grow(input->refused, input->refused_count, 1, capacity, sizeof(*room));
	struct input_refusal *refusal;

	if (!room)
		return -ENOMEM;
	input->refused = room;
	refusal = &room[input->refused_count++];
	refusal->name = alloc_string(name);
	refusal->why = alloc_string(why->what);
	return refusal->name && refusal->why ? 0 : -ENOMEM;
}

static bool kind_of(const char *name, enum input_kind *kind)
{
	size_t length = strlen(name);

	if (length < 5 || strcmp(name + length - 5, ".json"))
		return false;
	/* Other programs' results are named alike, with a word where here the time begins. */
	for (*kind = 0; *kind < INPUT_KINDS; (*kind)++) {
		size_t bytes = strlen(kinds[*kind].prefix);

		if (!strncmp(name, kinds[*kind].prefix, bytes) &&
		    isdigit((unsigned char)name[bytes]))
			return true;
	}
	return false;
}

static int is_wanted(const struct dirent *entry)
{
	enum input_kind kind;

	return kind_of(entry->d_name, &kind);
}

/* The time stands in digits at the end of the name. */
static const char *time_of(const char *name)
{
	const char *end = name + strlen(name) - 5;
	const char *from = end;

	while (from > name && isdigit((unsigned char)from[-1]))
		from--;
	return from;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	int order = strcmp(time_of((*b)->d_name), time_of((*a)->d_name));

	return order ? order : strcmp((*b)->d_name, (*a)->d_name);
}

static int take(struct input *input, const char *name, size_t *capacity, size_t *refused)
{
	struct rs_error error = RS_ERROR_INIT;
	struct input_file *into;
	enum input_kind kind;
	int ret;

	kind_of(name, &kind);
	if (kind != INPUT_BENCH && input->one[kind].root)
		return 0;
	if (kind == INPUT_BENCH) {
		into = array_grow(input->bench, input->bench_count, 1, capacity, sizeof(*into));
		if (!into)
			return -ENOMEM;
		input->bench = into;
		into += input->bench_count;
		*into = (struct input_file){ 0 };
	} else {
		into = &input->one[kind];
	}
	ret = read_file(input, name, kind, into, &error);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		return refuse(input, name, &error, refused);
	if (kind == INPUT_BENCH)
		input->bench_count++;
	return 0;
}

int input_read(struct input *input, const char *folder, struct rs_error *error)
{
	size_t capacity = 0, refused = 0;
	struct dirent **names;
	int at, count, ret = 0;

	*input = (struct input){ .folder = alloc_string(folder) };
	if (!input->folder)
		return error_no_memory(error, folder);
	count = scandir(folder, &names, is_wanted, newest_first);
	if (count < 0) {
		ret = error_set(error, -errno, "%s", strerror(errno));
		error_add_place(error, "%s", folder);
		return ret;
	}
	for (at = 0; at < count; at++) {
		if (!ret)
			ret = take(input, names[at]->d_name, &capacity, &refused);
		free(names[at]);
	}
	free(names);
	return ret ? error_no_memory(error, folder) : 0;
}

void input_free(struct input *input)
{
	size_t at;

	for (at = 0; at < input->bench_count; at++)
		forget_file(&input->bench[at]);
	for (at = 0; at < INPUT_KINDS; at++)
		forget_file(&input->one[at]);
	for (at = 0; at < input->refused_count; at++) {
		alloc_free(input->refused[at].name);
		alloc_free(input->refused[at].why);
	}
	alloc_free(input->bench);
	alloc_free(input->refused);
	alloc_free(input->folder);
	*input = (struct input){ 0 };
}

bool input_is_usable(const struct input *input)
{
	size_t at;

	for (at = 0; at < INPUT_KINDS; at++)
		if (input->one[at].root)
			return true;
	return input->bench_count > 0;
}
