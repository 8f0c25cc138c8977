import java.io.DataInputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;

/** Echo servers and clients on java.nio with a selector, and on java.net with threads: for java.bats. */
public class Sockets {
    static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

    public static void main(String[] arguments) throws Exception {
        int port = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 0;
        switch (arguments[0]) {
            case "nio-server" -> serveWithSelector();
            case "net-server" -> serveWithThreads();
            case "nio-clients" -> callWithSelector(port, number(arguments, 2), number(arguments, 3));
            case "net-clients" -> callWithThreads(port, number(arguments, 2), number(arguments, 3));
            case "say" -> say(port, arguments[2]);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    static int number(String[] arguments, int index) {
        return Integer.parseInt(arguments[index]);
    }

    static void serveWithSelector() throws Exception {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress(LOOPBACK, 0));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        System.out.println("port " + listener.socket().getLocalPort());
        while (true) {
            selector.select();
            for (var keys = selector.selectedKeys().iterator(); keys.hasNext(); keys.remove()) {
                SelectionKey key = keys.next();
                if (!key.isAcceptable()) {
                    give(key);
                    continue;
                }
                SocketChannel channel = listener.accept();
                if (channel != null) {
                    channel.configureBlocking(false);
                    channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(70000));
                }
            }
        }
    }

    /** Gives back what has come, and reads on once all of it is gone. */
    static void give(SelectionKey key) throws Exception {
        SocketChannel channel = (SocketChannel) key.channel();
        ByteBuffer buffer = (ByteBuffer) key.attachment();
        if (key.isReadable() && channel.read(buffer) < 0) {
            channel.close();
            return;
        }
        buffer.flip();
        channel.write(buffer);
        key.interestOps(buffer.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
        buffer.compact();
    }

    static void serveWithThreads() throws Exception {
        ServerSocket listener = new ServerSocket(0, 200, LOOPBACK);
        System.out.println("port " + listener.getLocalPort());
        while (true) {
            Socket socket = listener.accept();
            new Thread(() -> {
                try (socket) {
                    socket.getInputStream().transferTo(socket.getOutputStream());
                } catch (Exception broken) {
                    System.out.println("server: " + broken);
                }
            }).start();
        }
    }

    static void callWithThreads(int port, int clients, int bytes) throws Exception {
        AtomicInteger right = new AtomicInteger();
        Thread[] threads = new Thread[clients];
        for (int n = 0; n < clients; n++) {
            byte[] data = data(n, bytes);
            threads[n] = new Thread(() -> {
                try (Socket socket = new Socket(LOOPBACK, port)) {
                    socket.setSoTimeout(60000);
                    Thread writer = new Thread(() -> write(socket, data));
                    writer.start();
                    if (Arrays.equals(new DataInputStream(socket.getInputStream()).readNBytes(bytes), data)) {
                        right.incrementAndGet();
                    }
                    writer.join();
                } catch (Exception broken) {
                    System.out.println("client: " + broken);
                }
            });
            threads[n].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println(right + " right");
    }

    static byte[] data(int seed, int bytes) {
        byte[] data = new byte[bytes];
        new Random(seed).nextBytes(data);
        return data;
    }

    static void write(Socket socket, byte[] data) {
        try {
            OutputStream out = socket.getOutputStream();
            for (int at = 0; at < data.length; at += 30000) {
                out.write(data, at, Math.min(30000, data.length - at));
            }
        } catch (Exception broken) {
            System.out.println("writer: " + broken);
        }
    }

    static class Call {
        ByteBuffer out;
        ByteBuffer in;
    }

    /** All clients in one thread; each connects without blocking, and writes several buffers at once. */
    static void callWithSelector(int port, int clients, int bytes) throws Exception {
        Selector selector = Selector.open();
        for (int n = 0; n < clients; n++) {
            SocketChannel channel = SocketChannel.open();
            channel.configureBlocking(false);
            Call call = new Call();
            call.out = ByteBuffer.wrap(data(n, bytes));
            call.in = ByteBuffer.allocate(bytes);
            channel.connect(new InetSocketAddress(LOOPBACK, port));
            channel.register(selector, SelectionKey.OP_CONNECT, call);
        }
        int right = 0;
        for (int open = clients; open > 0;) {
            selector.select();
            for (var keys = selector.selectedKeys().iterator(); keys.hasNext(); keys.remove()) {
                SelectionKey key = keys.next();
                SocketChannel channel = (SocketChannel) key.channel();
                Call call = (Call) key.attachment();
                if (key.isConnectable() && channel.finishConnect()) {
                    key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
                } else {
                    if (key.isWritable() && gather(channel, call.out)) {
                        key.interestOps(SelectionKey.OP_READ);
                    }
                    if (key.isReadable() && channel.read(call.in) < 0 || !call.in.hasRemaining()) {
                        right += Arrays.equals(call.in.array(), call.out.array()) ? 1 : 0;
                        channel.close();
                        open--;
                    }
                }
            }
        }
        System.out.println(right + " right");
    }

    /** Writes the rest in three pieces by one call; true if nothing is left. */
    static boolean gather(SocketChannel channel, ByteBuffer out) throws Exception {
        ByteBuffer[] pieces = new ByteBuffer[3];
        int third = out.remaining() / 3 + 1;
        for (int n = 0; n < 3; n++) {
            int from = Math.min(out.limit(), out.position() + n * third);
            pieces[n] = out.duplicate().position(from).limit(Math.min(out.limit(), from + third));
        }
        out.position(out.position() + (int) channel.write(pieces));
        return !out.hasRemaining();
    }

    static void say(int port, String text) throws Exception {
        try (Socket socket = new Socket(LOOPBACK, port)) {
            socket.getOutputStream().write(text.getBytes());
            socket.shutdownOutput();
            System.out.println(new String(socket.getInputStream().readAllBytes()));
        }
    }
}
