// SPDX-License-Identifier: MIT
#include "bench/sweep/run_machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 8192U /* flags of a CPU are long */

/* What the system's files say is ASCII; a name that is not is no name. */
static json_t *json_text(const char *text)
{
	json_t *json = text[0] ? json_string(text) : NULL;

	return json ? json : json_null();
}

/* The first line of a file, without its end. */
static bool first_line(const char *path, char line[LINE_BYTES])
{
	FILE *from = fopen(path, "r");
	bool good = from && fgets(line, LINE_BYTES, from);

	if (from)
		fclose(from);
	if (good)
		line[strcspn(line, "\n")] = 0;
	return good;
}

static json_t *json_first_line(const char *path)
{
	char line[LINE_BYTES];

	return first_line(path, line) ? json_text(line) : json_null();
}

/* The value of the first line with that name in /proc/cpuinfo. */
static bool cpuinfo(const char *name, char value[LINE_BYTES])
{
	FILE *from = fopen("/proc/cpuinfo", "r");
	char line[LINE_BYTES];
	bool found = false;

	while (from && !found && fgets(line, sizeof(line), from)) {
		const char *colon = strchr(line, ':');

		if (!colon || strncmp(line, name, strlen(name)))
			continue;
		colon += strspn(colon, ": \t");
		snprintf(value, LINE_BYTES, "%.*s", (int)strcspn(colon, "\n"), colon);
		found = true;
	}
	if (from)
		fclose(from);
	return found;
}

json_t *run_machine_cpu(void)
{
	char value[LINE_BYTES];

	return cpuinfo("model name", value) ? json_text(value) : json_null();
}

json_t *run_machine_governor(void)
{
	return json_first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
}

json_t *run_machine_clock(void)
{
	return json_first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

/* Of "always [madvise] never" the one in brackets. */
static json_t *json_huge_pages(void)
{
	char line[LINE_BYTES];
	char *begin, *end;

	if (!first_line("/sys/kernel/mm/transparent_hugepage/enabled", line))
		return json_null();
	begin = strchr(line, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (!end)
		return json_text(line);
	*end = 0;
	return json_text(begin + 1);
}

json_t *run_machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long bytes = sysconf(_SC_PAGESIZE);

	return json_pack("{s:o, s:o}", "bytes",
			 pages > 0 && bytes > 0 ? json_integer((json_int_t)pages * bytes) :
						  json_null(),
			 "huge_pages", json_huge_pages());
}

json_t *run_machine_virtual(void)
{
	char flags[LINE_BYTES];
	char product[LINE_BYTES];

	if (!cpuinfo("flags", flags) || !strstr(flags, " hypervisor"))
		return json_null();
	if (!first_line("/sys/class/dmi/id/product_name", product) || !product[0])
		return json_string("hypervisor");
	return json_text(product);
}

json_t *run_machine_paranoid(void)
{
	char line[LINE_BYTES];
	char *end;
	long level;

	if (!first_line("/proc/sys/kernel/perf_event_paranoid", line))
		return json_null();
	level = strtol(line, &end, 10);
	return end != line && !*end ? json_integer(level) : json_null();
}
