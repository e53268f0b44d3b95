# What a reader has already: files as other programs leave them, made by openssl. A document names
# them in comments (see script.rs).
set -eu

# An authority: ca.pem, its key ca.key, and issuing.pem with issuing.key below it.
authority() {
    test -e issuing.pem && return
    ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    openssl req -x509 $ec -subj "/CN=Example Root" -days 3650 -keyout ca.key -out ca.pem \
        -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    openssl req $ec -subj "/CN=Example Issuing CA" -keyout issuing.key -out issuing.csr 2>/dev/null
    printf '%s\n' basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign,cRLSign \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
        authorityInfoAccess="caIssuers;URI:http://ca.example/root.cer" > issuing.ext
    openssl x509 -req -in issuing.csr -CA ca.pem -CAkey ca.key -days 1825 -extfile issuing.ext \
        -out issuing.pem 2>/dev/null
}

# sign REQUEST CERTIFICATE [DAYS]: the issuing authority signs a request, with its names.
sign() {
    authority
    printf '%s\n' basicConstraints=CA:FALSE keyUsage=critical,digitalSignature \
        extendedKeyUsage=serverAuth subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
        authorityInfoAccess="caIssuers;URI:http://ca.example/issuing.cer" > leaf.ext
    openssl x509 -req -in "$1" -CA issuing.pem -CAkey issuing.key -days "${3:-90}" \
        -copy_extensions copy -extfile leaf.ext -out "$2" 2>/dev/null
}

# issue FILE NAME...: FILE.key, FILE.pem for these names.
issue() {
    file=$1
    shift
    names=
    for name; do names="$names,DNS:$name"; done
    openssl req ${KEY:--newkey ec -pkeyopt ec_paramgen_curve:P-256} -nodes -subj "/CN=$1" \
        -addext "subjectAltName=${names#,}" -keyout "$file.key" -out "$file.csr" 2>/dev/null
    sign "$file.csr" "$file.pem" "${DAYS:-90}"
}

# files NAME...: fullchain.pem and privkey.pem.
files() {
    issue leaf "$@"
    cat leaf.pem issuing.pem > fullchain.pem
    cp leaf.key privkey.pem
}

# certbot NAME...: the directory of certbot. Repeated, the certificate is renewed.
certbot_has() {
    issue leaf "$@"
    live=etc/letsencrypt/live/$1
    archive=etc/letsencrypt/archive/$1
    mkdir -p "$live" "$archive" etc/letsencrypt/renewal-hooks/deploy
    n=1
    while test -e "$archive/cert$n.pem"; do n=$((n + 1)); done
    cp leaf.pem "$archive/cert$n.pem"
    cp issuing.pem "$archive/chain$n.pem"
    cat leaf.pem issuing.pem > "$archive/fullchain$n.pem"
    cp leaf.key "$archive/privkey$n.pem"
    for kind in cert chain fullchain privkey; do
        ln -sfn "../../archive/$1/$kind$n.pem" "$live/$kind.pem"
    done
}

# haproxy_has NAME...: one file with certificate, chain and key, as "crt" takes it.
haproxy_has() {
    issue leaf "$@"
    mkdir -p etc/haproxy/certs
    cat leaf.pem issuing.pem leaf.key > "etc/haproxy/certs/$1.pem"
}

# A program "vault" that signs as the PKI engine does: vault write -field=certificate PATH
# csr=@FILE format=pem_bundle prints the certificate and its chain.
vault_is_there() {
    authority
    cat > bin/vault <<'END'
#!/bin/sh
for word; do case $word in csr=@*) csr=${word#csr=@} ;; esac; done
. ./stage.sh
sign "$csr" vault.leaf
cat vault.leaf issuing.pem
END
    chmod +x bin/vault
}

# communigate_has NAME: the answer of GETDOMAINSETTINGS.
communigate_has() {
    KEY="-newkey rsa:2048" issue leaf "$@"
    base64_of() { grep -v -e ----- "$1" | tr -d '\n'; }
    openssl rsa -in leaf.key -traditional -out leaf.rsa 2>/dev/null
    printf '{PKIServices=Enabled;PrivateSecureKey=[%s];SecureCertificate=[%s];CAChain=[%s];}\n' \
        "$(base64_of leaf.rsa)" "$(base64_of leaf.pem)" "$(base64_of issuing.pem)" > settings.txt
}

# revoke CERTIFICATE: issuing.crl, in which the issuing authority revokes it.
revoke() {
    : > index.txt
    echo 01 > crlnumber
    printf '%s\n' '[ca]' 'default_ca=c' '[c]' database=index.txt crlnumber=crlnumber \
        default_md=sha256 default_crl_days=30 certificate=issuing.pem private_key=issuing.key \
        crl_extensions=e '[e]' authorityKeyIdentifier=keyid > crl.cnf
    openssl ca -config crl.cnf -revoke "$1" 2>/dev/null
    openssl ca -config crl.cnf -gencrl -out issuing.crl 2>/dev/null
}

# aged FILE FROM TILL NAME...: as issue, but valid from FROM till TILL, as "-80 days" and "+5 days".
aged() {
    from=$2 till=$3 aged_file=$1
    shift 3
    issue "$aged_file" "$@"
    : > index.txt
    printf '%s\n' '[ca]' 'default_ca=c' '[c]' database=index.txt default_md=sha256 rand_serial=yes \
        new_certs_dir=. policy=p copy_extensions=copy certificate=issuing.pem \
        private_key=issuing.key '[p]' commonName=supplied > ca.cnf
    at() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
    openssl ca -batch -config ca.cnf -in "$aged_file.csr" -startdate "$(at "$from")" \
        -enddate "$(at "$till")" -extfile leaf.ext -notext -out "$aged_file.pem" 2>/dev/null
}
