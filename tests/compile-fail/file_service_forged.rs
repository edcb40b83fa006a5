// must fail: E0451
use portcullis::internals::transport::file_service::FileService;

pub fn forge() -> FileService {
    FileService { grant: todo!(), operations: todo!(), login: todo!() }
}
