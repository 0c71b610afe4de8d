// Plays CartPole with the actions of a service: `java CartPole [TARGET]`, after the messages were generated (../README.md).
import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import polserve.v1.Policy.ActRequest;
import polserve.v1.Policy.ActResponse;
import polserve.v1.Policy.DataType;
import polserve.v1.Policy.Tensor;
import polserve.v1.PolicyServiceGrpc;

public class CartPole {
    static final int MOST_STEPS = 500;

    // The state x, speed, angle, angular speed in SI units, by the equations of Gymnasium's CartPole-v1.
    static double[] step(double[] state, long action) {
        double speed = state[1], angle = state[2], spin = state[3];
        double push = ((action == 1 ? 10 : -10) + 0.05 * spin * spin * Math.sin(angle)) / 1.1;
        double cos = Math.cos(angle);
        double spinning = (9.8 * Math.sin(angle) - cos * push) / (0.5 * (4.0 / 3 - 0.1 * cos * cos / 1.1));
        double speeding = push - 0.05 * spinning * cos / 1.1;
        double s = 0.02; // seconds of a step
        return new double[] {state[0] + s * speed, speed + s * speeding, angle + s * spin, spin + s * spinning};
    }

    static boolean hasFallen(double[] state) {
        return Math.abs(state[0]) > 2.4 || Math.abs(state[2]) > Math.toRadians(12);
    }

    static ActRequest request(double[] state) {
        ByteBuffer data = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
        for (double value : state) data.putFloat((float) value);
        Tensor.Builder observation = Tensor.newBuilder().setDtype(DataType.FLOAT32).addShape(4);
        observation.setData(ByteString.copyFrom(data.array()));
        return ActRequest.newBuilder().setPolicy("cartpole").setObservation(observation).build();
    }

    public static void main(String[] arguments) {
        String target = arguments.length > 0 ? arguments[0] : "localhost:50051";
        ManagedChannel channel = ManagedChannelBuilder.forTarget(target).usePlaintext().build();
        PolicyServiceGrpc.PolicyServiceBlockingStub policies = PolicyServiceGrpc.newBlockingStub(channel);
        double[] state = {0.01, 0.02, 0.03, 0.04};
        int steps = 0;
        String version = "";
        while (steps < MOST_STEPS && !hasFallen(state)) {
            ActResponse answer = policies.act(request(state));
            ByteBuffer action = answer.getAction().getData().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
            state = step(state, action.getLong());
            version = answer.getVersion();
            steps += 1;
        }
        System.out.printf("cartpole/%s: %d steps%n", version, steps);
        channel.shutdownNow();
    }
}
