// Plays CartPole with the actions of a service: `go run . [TARGET]`, after the messages were generated (../README.md).
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"

	"google.golang.org/grpc"

	policy "example.com/polserve/v1"
)

const mostSteps = 500

// cartPole holds x, speed, angle and angular speed in SI units, by the equations of Gymnasium's CartPole-v1.
type cartPole [4]float64

func (p *cartPole) step(action int64) {
	x, speed, angle, spin := p[0], p[1], p[2], p[3]
	force := -10.0
	if action == 1 {
		force = 10.0
	}
	push := (force + 0.05*spin*spin*math.Sin(angle)) / 1.1
	cos := math.Cos(angle)
	spinning := (9.8*math.Sin(angle) - cos*push) / (0.5 * (4.0/3 - 0.1*cos*cos/1.1))
	speeding := push - 0.05*spinning*cos/1.1
	const s = 0.02 // seconds of a step
	*p = cartPole{x + s*speed, speed + s*speeding, angle + s*spin, spin + s*spinning}
}

func (p *cartPole) hasFallen() bool {
	return math.Abs(p[0]) > 2.4 || math.Abs(p[2]) > 12*math.Pi/180
}

func (p *cartPole) tensor() *policy.Tensor {
	data := make([]byte, 0, 16)
	for _, value := range p {
		var number [4]byte
		binary.LittleEndian.PutUint32(number[:], math.Float32bits(float32(value)))
		data = append(data, number[:]...)
	}
	return &policy.Tensor{Dtype: policy.DataType_FLOAT32, Shape: []int64{4}, Data: data}
}

// play plays one episode on a stream: the service keeps the version that it began with, and counts its return.
func play(client policy.PolicyServiceClient) (*policy.EpisodeResponse, error) {
	stream, err := client.Episode(context.Background())
	if err != nil {
		return nil, err
	}
	ask := func(request *policy.EpisodeRequest) (*policy.EpisodeResponse, error) {
		if err := stream.Send(request); err != nil {
			return nil, err
		}
		return stream.Recv()
	}
	game, reward := &cartPole{0.01, 0.02, 0.03, 0.04}, 1.0
	start := &policy.EpisodeStart{Policy: "cartpole", Observation: game.tensor()}
	response, err := ask(&policy.EpisodeRequest{Message: &policy.EpisodeRequest_Start{Start: start}})
	for err == nil {
		game.step(int64(binary.LittleEndian.Uint64(response.Action.Data)))
		if game.hasFallen() || response.Step == mostSteps {
			break
		}
		step := &policy.EpisodeStep{Observation: game.tensor(), Reward: &reward}
		response, err = ask(&policy.EpisodeRequest{Message: &policy.EpisodeRequest_Step{Step: step}})
	}
	if err != nil {
		return nil, err
	}
	end := &policy.EpisodeEnd{Reward: &reward, Truncated: !game.hasFallen()}
	return ask(&policy.EpisodeRequest{Message: &policy.EpisodeRequest_End{End: end}})
}

func main() {
	target := "localhost:50051"
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	connection, err := grpc.Dial(target, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	end, err := play(policy.NewPolicyServiceClient(connection))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("cartpole/%s: %d steps, return %g\n", end.Version, end.Step, end.GetEpisodeReturn())
}
