
/* The texts of the return codes. */


#include "prd.h"


const char *
prd_strerror(prd_rc_t rc)
{
    /* no default: the compiler tells when a code is added */

    switch (rc) {

    case PRD_OK:
        return "no error";

    case PRD_DECLINED:
        return "no value";

    case PRD_EAGAIN:
        return "busy in another process";

    case PRD_EINVAL:
        return "invalid value";

    case PRD_ERANGE:
        return "value out of range";

    case PRD_ENOMEM:
        return "not enough memory";

    case PRD_EFULL:
        return "no room left";

    case PRD_ESTALE:
        return "overtaken by something newer";

    case PRD_EVERSION:
        return "unknown layout or format version";

    case PRD_ECORRUPT:
        return "corrupt data";

    case PRD_EIO:
        return "input or output error";

    case PRD_ELIMIT:
        return "match limit exceeded";
    }

    return "unknown error";
}
