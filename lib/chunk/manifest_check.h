/* What may stand in a manifest. Private to lib/chunk. 0, or ERR_FAILED with a sentence. */
#ifndef CPA_CHUNK_MANIFEST_CHECK_H
#define CPA_CHUNK_MANIFEST_CHECK_H

#include "lib/chunk/manifest.h"

int manifest_check_generation(const Cpa__Generation *gen, struct err *e);
int manifest_check_keyset(const Cpa__Keyset *keys, struct err *e);

#endif
