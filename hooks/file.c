/* Checkpoints that a program writes as files. Owns the list of paths that this process was given. */
#include <stdlib.h>

#include "hooks/internal.h"

void routes_free(cpa *cp)
{
	free(cp->routes);
	cp->routes = NULL;
}
