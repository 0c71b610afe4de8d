// An empty echo in C++ gRPC: every unary call is answered with an empty message, in callbacks, without parsing.
// Built by benchmarks/native.py; prints its port and serves until it is ended.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <csignal>
#include <iostream>

class Echo final : public grpc::ServerGenericBidiReactor {
 public:
  Echo() { StartRead(&request_); }

  void OnReadDone(bool is_ok) override {
    if (is_ok) {
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      Finish(grpc::Status::OK);
    }
  }

  void OnDone() override { delete this; }

 private:
  grpc::Slice nothing_{""};
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_{&nothing_, 1};
};

class Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override { return new Echo; }
};

int main() {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before threads begin, which inherit it
  Service service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::cout << port << std::endl;
  int received = 0;
  sigwait(&ending, &received);
  server->Shutdown();
}
