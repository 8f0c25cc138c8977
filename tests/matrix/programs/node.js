// node.js WHAT PORT [ARGUMENTS]: servers and clients of Node's own modules, for node.bats. Servers print "port N".
'use strict';
const cluster = require('cluster'), crypto = require('crypto'), http = require('http'), net = require('net');

const [what, port, ...rest] = process.argv.slice(2);

// Gives back what it is sent.
function echo(request, response) {
    response.setHeader('x-worker', process.pid);
    request.pipe(response);
}

function listen(server) {
    server.listen(Number(port), '127.0.0.1', () => console.log(`port ${server.address().port}`));
}

function request(agent, body) {
    return new Promise((resolve, reject) => {
        const call = http.request({ host: '127.0.0.1', port, method: 'POST', agent }, (response) => {
            const parts = [];
            response.on('data', (part) => parts.push(part));
            response.on('end', () => resolve([response.headers['x-worker'], Buffer.concat(parts)]));
            response.on('error', reject);
        });
        call.on('error', reject);
        call.end(body);
    });
}

const kinds = {
    http: () => listen(http.createServer(echo)),

    net: () => listen(net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))),

    // Workers answer; the primary accepts and passes connections on, or, told "shared", passes its listener on.
    cluster() {
        if (!cluster.isPrimary) return listen(http.createServer(echo));
        if (rest[0] === 'shared') cluster.schedulingPolicy = cluster.SCHED_NONE;
        for (let n = 0; n < 3; n++) cluster.fork();
    },

    // One request with a text.
    async say() {
        console.log((await request(undefined, rest[0]))[1].toString());
    },

    // REQUESTS of random sizes on CONNECTIONS, kept alive or not; each answer is compared.
    async requests() {
        const [count, connections, keepAlive] = [Number(rest[0]), Number(rest[1]), rest[2] === 'kept'];
        const agent = new http.Agent({ keepAlive, maxSockets: connections });
        const workers = new Set();
        let right = 0;
        await Promise.all([...Array(count).keys()].map(async (n) => {
            const body = crypto.randomBytes([0, 1, 1000, 16384, 16385, 200000][n % 6]);
            const [worker, answer] = await request(agent, body);
            workers.add(worker);
            if (answer.equals(body)) right++;
        }));
        console.log(`${right} right, from ${workers.size} processes`);
        agent.destroy();
    },

    // BYTES each way on one connection, at once, with half-close.
    stream() {
        const sent = crypto.createHash('sha256'), received = crypto.createHash('sha256');
        const socket = net.connect({ port: Number(port), host: '127.0.0.1' });
        let left = Number(rest[0]), back = 0;
        const write = () => {
            while (left > 0) {
                const part = crypto.randomBytes(Math.min(left, 100000));
                left -= part.length;
                sent.update(part);
                if (!socket.write(part) && left > 0) return socket.once('drain', write);
            }
            socket.end();
        };
        socket.on('connect', write);
        socket.on('data', (part) => { back += part.length; received.update(part); });
        socket.on('end', () => console.log(sent.digest('hex') === received.digest('hex') ? `${back} right` : 'wrong'));
    },
};

kinds[what]();
