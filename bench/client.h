
/*
 * Connections to an nginx on loopback, for the benches that play its clients.
 */


#ifndef BENCH_CLIENT_H_INCLUDED
#define BENCH_CLIENT_H_INCLUDED


#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "bench.h"


static int
client_connect(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd == -1 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) != 0) {
        bench_die("cannot connect");
    }

    on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    return fd;
}


#endif /* BENCH_CLIENT_H_INCLUDED */
