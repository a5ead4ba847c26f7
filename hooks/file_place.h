/* Where routed files lie: file_place.c. */
#ifndef CPA_HOOKS_FILE_PLACE_H
#define CPA_HOOKS_FILE_PLACE_H

#include "hooks/internal.h"

#define FILE_PATH_MAX (PLACE_MAX + 512)

/* The absolute path of this process's file of a kind ("part", "restored") for key, in a directory that is there and
 * this user's own. What dead processes left in it is removed. */
int file_place(const cpa *cp, const char *key, const char *kind, char path[FILE_PATH_MAX]);

#endif
