import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.InetSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * A listener as a Kafka broker opens it, in a real JVM. Speaks the laboratory's protocol: two
 * lengths, of the request and of the answer, then the request; the answer is the first length.
 */
public final class Listener {
    public static void main(String[] arguments) throws Exception {
        ServerSocketChannel server = ServerSocketChannel.open();
        // The order of Kafka's SocketServer: the buffer is set before the socket is bound.
        server.socket().setReceiveBufferSize(102400);
        server.bind(new InetSocketAddress(Integer.parseInt(arguments[0])), 50);
        System.out.println("listening");
        while (true) {
            try (SocketChannel client = server.accept()) {
                serve(client);
            } catch (java.io.IOException ended) {
                // A client that resets its connection has what it wanted.
            }
        }
    }

    private static void serve(SocketChannel client) throws java.io.IOException {
        DataInputStream in = new DataInputStream(Channels.newInputStream(client));
        DataOutputStream out = new DataOutputStream(Channels.newOutputStream(client));
        while (true) {
            int size = in.readInt();
            in.readInt();
            in.readNBytes(size);
            out.writeInt(size);
        }
    }
}
