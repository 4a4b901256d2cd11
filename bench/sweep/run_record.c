// SPDX-License-Identifier: MIT
#include "bench/sweep/run_record.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/sweep/run_machine.h"
#include "core/base/topology.h"
#include "refstorm/version.h"

/* What CMake says of the build; without it nothing is known. */
#ifndef RUN_RECORD_FLAGS
#define RUN_RECORD_FLAGS "unknown options"
#endif

#if defined(__clang__)
#define RUN_RECORD_COMPILER "clang " __clang_version__
#else
#define RUN_RECORD_COMPILER "gcc " __VERSION__
#endif

static const char build_text[] = RUN_RECORD_COMPILER ", " RUN_RECORD_FLAGS
#ifdef RS_WINDOWS
						     ", windows"
#endif
#ifdef RS_PLANTS
						     ", plants"
#endif
#ifdef RS_COUNT
						     ", counts"
#endif
	;

#define LINE_BYTES 256U

/* The first line that git prints, without its end. False: it fails. */
static bool ask_git(char line[LINE_BYTES])
{
	static char *const command[] = { "git",         "describe",  "--always", "--dirty",
					 "--abbrev=40", "--exclude", "*",        NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], status = -1;
	pid_t child;
	FILE *from;
	bool good;

	if (pipe2(ends, O_CLOEXEC))
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	good = !posix_spawnp(&child, command[0], &actions, NULL, command, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	from = fdopen(ends[0], "r");
	if (!from)
		close(ends[0]);
	if (good) {
		bool read = from && fgets(line, LINE_BYTES, from);

		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		good = read && status == 0;
	}
	if (from)
		fclose(from);
	if (good)
		line[strcspn(line, "\n")] = 0;
	return good && line[0];
}

/* Of the sources in the working directory, if this project's are there: another one's commit says nothing. */
static json_t *json_commit(void)
{
	char line[LINE_BYTES];

	if (access("include/refstorm/version.h", F_OK) || !ask_git(line))
		return json_null();
	return json_string(line);
}

/* Without the directories of a path, also of one behind the = of an option. */
static json_t *json_argument(const char *text)
{
	const char *value = text[0] == '-' ? strchr(text, '=') : NULL;
	size_t option = value ? (size_t)(value + 1 - text) : 0;
	const char *slash;
	json_t *argument;

	value = text + option;
	slash = strrchr(value, '/');
	/* What ends in one keeps nothing else to name it by. */
	if (slash && slash[1])
		value = slash + 1;
	else if (slash)
		value = "(directory)";
	argument = json_sprintf("%.*s%s", (int)option, text, value);
	return argument ? argument : json_string("?");
}

static json_t *json_command(int argc, char **argv)
{
	json_t *command = json_array();
	int at;

	for (at = 0; at < argc; at++)
		json_array_append_new(command, json_argument(argv[at]));
	return command;
}

static json_t *json_date(void)
{
	time_t now = time(NULL);
	char text[LINE_BYTES];
	struct tm parts;

	if (!gmtime_r(&now, &parts) ||
	    !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", &parts))
		return json_null();
	return json_string(text);
}

static json_t *json_load(void)
{
	double load[3];

	if (getloadavg(load, 3) != 3)
		return json_null();
	return json_pack("[f, f, f]", load[0], load[1], load[2]);
}

static json_t *json_topology(void)
{
	struct topology *topology;
	json_t *text;

	if (topology_create(&topology, NULL))
		return json_null();
	text = json_string(topology_summary(topology));
	topology_destroy(topology);
	return text ? text : json_null();
}

static json_t *json_cpus(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return json_null();
	return json_integer(CPU_COUNT(&allowed));
}

/* Whether the machine lets this process count cycles. */
static json_t *json_counters(void)
{
	struct perf_event_attr cycles = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(cycles),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.exclude_kernel = 1,
	};
	long fd = syscall(SYS_perf_event_open, &cycles, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0)
		close((int)fd);
	return json_boolean(fd >= 0);
}

json_t *run_record_make(int argc, char **argv)
{
	struct utsname names;
	bool named = !uname(&names);

	return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
			 " s:o, s:o, s:o}",
			 "date", json_date(), "commit", json_commit(), "build", build_text,
			 "version", RS_VERSION, "command", json_command(argc, argv), "machine",
			 named ? json_string(names.nodename) : json_null(), "cpu",
			 run_machine_cpu(), "topology", json_topology(), "cpus", json_cpus(),
			 "kernel", named ? json_string(names.release) : json_null(), "governor",
			 run_machine_governor(), "clock", run_machine_clock(), "memory",
			 run_machine_memory(), "load", json_load(), "virtual",
			 run_machine_virtual(), "counters", json_counters(), "perf_event_paranoid",
			 run_machine_paranoid());
}
